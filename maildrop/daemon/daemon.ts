/**
 * The daemon: watches the spools, delivers what it finds, until it is told to stop.
 *
 * It starts whether or not the SMTP server can be reached, survives a spool that is removed, a full disk and a log that
 * cannot be written, and ends by finishing (or giving back) what it has begun.
 *
 * A *generation* is what one configuration has begun: for each server a destination and its workers. A reload starts the next one at once,
 * and lets the messages in transfer of the one before finish as they were begun. The spools are common to all generations.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { captureName } from '../capture/mailbox.ts'
import { destinationsOf, type MaildropConfig } from '../config.ts'
import { relayName } from '../delivery/relay.ts'
import { MaildropError } from '../errors.ts'
import { type Claims, openClaims } from '../spool/claim.ts'
import { ensureSpool } from '../spool/layout.ts'
import { flushSpool } from '../spool/operations.ts'
import { secureParts } from '../spool/owner.ts'
import { type Destination, type DestinationStatus, openDestination } from './destination.ts'
import { type FailureHook, openFailureHook } from './failure-hook.ts'
import { STOP_GRACE } from './grace.ts'
import { type Intake, openIntake } from './intake.ts'
import type { Log } from './log.ts'
import { claimPidFile, releasePidFile } from './pid-file.ts'
import { openRateFile } from './rate-file.ts'
import { openRecovery, type Recovery, tidyStates } from './recovery.ts'
import { openThrottle, type Throttle, type ThrottleStatus } from './throttle.ts'
import { openTrouble, type Trouble } from './trouble.ts'
import { startWorkers, type Workers } from './workers.ts'

export interface Daemon {
  readonly status: DaemonStatus
  /** Turns that it has made of looking after its spools: a number that grows while it gets on. */
  readonly turns: number
  /**
   * Goes on with another configuration. Nothing changes if that fails.
   * @param next `pidFile` has to be the same
   * @throws {MaildropError} RELOAD_REFUSED while it ends; SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
   */
  reload(next: MaildropConfig): Promise<void>
  /** Makes what is deferred due now, and tries a server that is down; returns the number of messages. */
  flush(): Promise<number>
  /**
   * Resolves when everything that can be delivered now has been.
   * @throws {MaildropError} NOT_RUNNING if it is stopped before
   */
  drained(): Promise<void>
  /** Finishes the messages in transfer, gives back what takes too long, and ends. */
  stop(): Promise<void>
}

export interface DaemonStatus {
  /** host:port */
  readonly relay: string
  readonly destination: DestinationStatus
  /** The further servers of MAILDROP_RELAYS. */
  readonly relays: readonly { readonly relay: string; readonly destination: DestinationStatus }[]
  readonly connections: { readonly open: number; readonly busy: number; readonly allowed: number }
  /** Only with MAILDROP_RATE. */
  readonly rate: ThrottleStatus | undefined
  /** Messages that are due, as far as is known. */
  readonly backlog: number
  /** Spools that cannot be used, and why. */
  readonly troubles: readonly { readonly spool: string; readonly text: string }[]
}

/** In milliseconds. */
export interface Timing {
  readonly tick: number
  /** Between two signs of life to other daemons, and without one after which they take back what this one has claimed. */
  readonly heartbeat: number
  readonly lease: number
  /** That messages in transfer get to finish when it stops. */
  readonly grace: number
}

export const TIMING: Timing = { tick: 500, heartbeat: 5000, lease: 30_000, grace: STOP_GRACE }
/** Milliseconds that MAILDROP_ON_FAILURE gets then. */
const HOOK_GRACE = 5000
/** Every so many ticks. */
const RECOVERY = 4
/** Milliseconds between two looks whether everything has been delivered, and for which files still being written are waited for. */
const LOOK = 50
const UNSETTLED = 12_000
/** Milliseconds that it waits at most until MAILDROP_RATE allows the next message. */
const PERMITTED = 60_000

interface Source {
  readonly spool: string
  readonly claims: Claims
  readonly recovery: Recovery
  readonly intake: Intake
  readonly trouble: Trouble
}

/** What goes to one server. */
interface Lane {
  readonly relay: string
  readonly sources: readonly Source[]
  readonly destination: Destination
  readonly workers: Workers
}

interface Generation {
  readonly config: MaildropConfig
  readonly sources: readonly Source[]
  readonly throttle: Throttle
  /** The usual server's first, then those of the relays. */
  readonly lanes: readonly [Lane, ...Lane[]]
}

/**
 * @returns when the daemon is ready to deliver
 * @throws {MaildropError} ALREADY_RUNNING, SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
 */
export async function startDaemon(config: MaildropConfig, log: Log, timing = TIMING): Promise<Daemon> {
  await prepareSpools(config)
  claimPidFile(config.pidFile, config.file)
  try {
    return await deliverFrom(config, log, timing)
  } catch (error) {
    releasePidFile(config.pidFile)
    throw error
  }
}

function throttleOf({ rate, varDir }: MaildropConfig, log: Log): Throttle {
  return openThrottle(rate, rate && openRateFile(join(varDir, 'maildrop.rate'), rate, log))
}

async function prepareSpools({ spools, relays, shared }: MaildropConfig): Promise<void> {
  for (const spool of spools) {
    await ensureSpool(spool)
    if (shared && !relays.some(relay => relay.spool === spool)) secureParts(spool)
  }
}

async function deliverFrom(first: MaildropConfig, log: Log, timing: Timing): Promise<Daemon> {
  let stopping = false
  let turns = 0
  let changing: Promise<void> = Promise.resolve()
  const alive = new Set<Generation>()
  const hook: FailureHook = openFailureHook(log)
  const wake = (): void => {
    for (const { workers } of current.lanes) workers.wake()
  }

  const openSource = (spool: string): Source => {
    const claims = openClaims(spool, () => log.line('claims-lost', { spool }))
    return {
      spool,
      claims,
      recovery: openRecovery(spool, claims, log, timing.lease, () => current.config.onUnknown === 'ask'),
      intake: openIntake(
        spool,
        log,
        () => wake(),
        () => current.config.shared,
      ),
      trouble: openTrouble(spool, log),
    }
  }

  const beginLane = (config: MaildropConfig, all: readonly Source[], throttle: Throttle): Lane => {
    const relay = relayName(config)
    const sources = config.spools.map(spool => all.find(source => source.spool === spool)!)
    const destination = openDestination(relay, config.connections, log, () => lane.workers.wake())
    const workers = startWorkers(sources, { config, log, destination, throttle, stopping: () => stopping })
    const lane = { relay, sources, destination, workers }
    return lane
  }

  const begin = (config: MaildropConfig, sources: readonly Source[], throttle: Throttle): Generation => {
    const [usual, ...relays] = destinationsOf(config)
    const generation: Generation = {
      config,
      sources,
      throttle,
      lanes: [beginLane(usual, sources, throttle), ...relays.map(relay => beginLane(relay, sources, throttle))],
    }
    alive.add(generation)
    return generation
  }

  /** Ends a generation, and closes the spools that no other one serves. */
  const end = async (generation: Generation, grace?: number): Promise<void> => {
    for (const { destination } of generation.lanes) destination.close()
    await Promise.all(generation.lanes.map(({ workers }) => workers.stop(grace)))
    if (!alive.delete(generation)) return
    for (const source of generation.sources) {
      if ([...alive].some(({ sources }) => sources.includes(source))) continue
      source.intake.close()
      source.claims.close()
    }
  }

  const takeBack = async ({ recovery, intake }: Source): Promise<void> => {
    if ((await recovery.takeBack()) > 0) intake.scan()
  }

  const beat = ({ claims, trouble }: Source): void => {
    try {
      claims.heartbeat()
      trouble.end('heartbeat')
    } catch (error) {
      trouble.begin('heartbeat', error)
    }
  }

  const scanning = (seconds: number): NodeJS.Timeout =>
    setInterval(() => {
      for (const { intake } of current.sources) intake.scan()
      wake()
    }, seconds * 1000)

  hook.prepare(first)
  let current = begin(first, first.spools.map(openSource), throttleOf(first, log))
  let scan = scanning(first.interval)
  const served = (): Set<Source> => new Set(Array.from(alive, ({ sources }) => sources).flat())
  // On its own: whatever else takes long must not look like death to other daemons.
  const beating = setInterval(() => {
    for (const source of served()) beat(source)
  }, timing.heartbeat)
  const ticking = repeat(timing.tick, async count => {
    for (const source of served()) {
      try {
        await source.intake.tick()
        if (count % RECOVERY === 0) await takeBack(source)
        source.trouble.end('care')
        if (source.intake.backlog === 0) source.trouble.end('delivery')
      } catch (error) {
        source.trouble.begin('care', error)
      }
    }
    hook.tick(current.config)
    turns = count
    wake()
  })

  const change = async (next: MaildropConfig): Promise<void> => {
    if (stopping) throw new MaildropError('RELOAD_REFUSED', 'the daemon is being stopped')
    await prepareSpools(next)
    const opened: Source[] = []
    const known = current.sources
    try {
      for (const spool of next.spools) {
        if (known.some(source => source.spool === spool)) continue
        opened.push(openSource(spool))
        await tidyStates(spool)
      }
    } catch (error) {
      for (const { intake, claims } of opened) {
        intake.close()
        claims.close()
      }
      throw error
    }
    hook.prepare(next)
    const last = current
    const sources = next.spools.map(spool => [...known, ...opened].find(source => source.spool === spool)!)
    // What was sent before counts as long as the limit is the same.
    const isSame = next.rate?.text === last.config.rate?.text
    if (!isSame) last.throttle.close()
    current = begin(next, sources, isSame ? last.throttle : throttleOf(next, log))
    clearInterval(scan)
    scan = scanning(next.interval)
    void end(last)
    wake()
  }

  for (const { spool } of current.sources) await tidyStates(spool)
  for (const source of current.sources) await takeBack(source)
  const { relay } = current.lanes[0]
  const text = first.capture && `mail goes to ${captureName(first.capture)}, nothing is sent`
  log.line('start', { pid: process.pid, relay, spool: first.spools.join(';'), config: first.file, text })
  wake()

  return {
    get status() {
      const { sources, lanes } = current
      const [usual, ...further] = lanes
      const working = Array.from(alive, ({ lanes }) => lanes).flat()
      return {
        relay: usual.relay,
        destination: destinationStatus(usual),
        relays: further.map(lane => ({ relay: lane.relay, destination: destinationStatus(lane) })),
        connections: {
          open: sum(working, lane => lane.workers.open),
          busy: sum(working, lane => lane.workers.busy),
          allowed: sum(lanes, lane => lane.destination.allowance),
        },
        rate: current.throttle.status,
        backlog: sum(sources, ({ intake }) => intake.backlog) + sum(lanes, ({ workers }) => workers.busy),
        troubles: sources.flatMap(({ spool, trouble: { text } }) => (text === undefined ? [] : [{ spool, text }])),
      }
    },
    get turns() {
      return turns
    },
    reload(next) {
      const done = changing.then(() => change(next))
      changing = done.catch(() => undefined)
      return done
    },
    async flush() {
      let count = 0
      for (const { spool, intake } of current.sources) {
        count += await flushSpool(spool)
        intake.scan()
      }
      for (const { destination } of current.lanes) destination.probe()
      wake()
      return count
    },
    async drained() {
      for (const { intake } of current.sources) intake.scan()
      for (const { destination } of current.lanes) destination.probe()
      wake()
      let moved = performance.now()
      // Once nothing is left, one more look finds what has come by other ways than a notification.
      for (let looks = 0; looks < 2; ) {
        await sleep(LOOK)
        if (stopping) throw new MaildropError('NOT_RUNNING', 'the daemon was stopped meanwhile')
        const lanes = current.lanes.filter(({ destination }) => destination.status.state !== 'down')
        if (lanes.length === 0) return
        const sources = lanes.flatMap(lane => lane.sources).filter(({ trouble }) => trouble.text === undefined)
        const busy = sum(lanes, ({ workers }) => workers.busy)
        if (busy === 0 && current.throttle.wait > PERMITTED) return
        if (sum(sources, ({ intake }) => intake.backlog) + busy > 0) {
          moved = performance.now()
          looks = 0
        } else if (sum(sources, ({ intake }) => intake.unsettled) === 0 || performance.now() - moved > UNSETTLED) {
          looks += 1
          if (looks === 1) for (const { intake } of sources) intake.scan()
        }
      }
    },
    async stop() {
      log.line('stopping', { pid: process.pid })
      stopping = true
      clearInterval(scan)
      await changing
      await ticking.stop()
      await Promise.all([hook.stop(HOOK_GRACE), ...Array.from(alive, generation => end(generation, timing.grace))])
      clearInterval(beating)
      current.throttle.close()
      releasePidFile(first.pidFile)
      log.line('stop', { pid: process.pid })
    },
  }
}

function destinationStatus({ destination: { status }, workers: { silence } }: Lane): DestinationStatus {
  if (status.state !== 'up' || silence === undefined) return status
  return { ...status, silence: { text: silence.text, seconds: Math.round((performance.now() - silence.since) / 1000) } }
}

function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}

/** Runs `work` again and again, each time `ms` milliseconds after the last has ended. */
function repeat(ms: number, work: (count: number) => Promise<void>): { stop(): Promise<void> } {
  let timer: NodeJS.Timeout | undefined
  let running: Promise<void> = Promise.resolve()
  let stopped = false
  let count = 0
  const next = (): void => {
    if (stopped) return
    timer = setTimeout(() => {
      count += 1
      running = work(count).then(next)
    }, ms)
  }
  next()
  return {
    stop() {
      stopped = true
      clearTimeout(timer)
      return running
    },
  }
}
