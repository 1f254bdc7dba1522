/**
 * The daemon: watches the spools, delivers what it finds, until it is told to stop.
 *
 * It starts whether or not the SMTP server can be reached, survives a spool that is removed, a full disk and a log that
 * cannot be written, and ends by finishing (or giving back) what it has begun.
 *
 * A reload begins another generation (generation.ts) at once; the spools (served.ts) are common to all.
 */
import { join } from 'node:path'
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { MaildropError } from '../errors.ts'
import { ensureSpool } from '../spool/layout.ts'
import { flushSpool } from '../spool/operations.ts'
import { secureParts } from '../spool/owner.ts'
import type { DestinationStatus } from './destination.ts'
import { sum, untilDelivered } from './draining.ts'
import { type FailureHook, openFailureHook } from './failure-hook.ts'
import { beginGeneration, endGeneration, type Generation, type Lane } from './generation.ts'
import { STOP_GRACE } from './grace.ts'
import type { Log } from './log.ts'
import { claimPidFile, releasePidFile } from './pid-file.ts'
import { openRateFile } from './rate-file.ts'
import { tidyStates } from './recovery.ts'
import { beat, closeServed, lookAfter, openServed, type Served, takeBack } from './served.ts'
import { openThrottle, type Throttle, type ThrottleStatus } from './throttle.ts'

export interface Daemon {
  readonly status: DaemonStatus
  /** Turns that it has made of looking after its spools: a number that grows while it gets on. */
  readonly turns: number
  /**
   * Goes on with another configuration. Nothing changes if that fails.
   * @param next its pid file has to name this process
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

  const openSource = (spool: string): Served => openServed(spool, log, timing.lease, () => current.config, wake)

  const begin = (config: MaildropConfig, sources: readonly Served[], throttle: Throttle): Generation => {
    const generation = beginGeneration(config, sources, throttle, log, () => stopping)
    alive.add(generation)
    return generation
  }

  /** Ends a generation, and closes the spools that no other one serves. */
  const end = async (generation: Generation, grace?: number): Promise<void> => {
    await endGeneration(generation, grace)
    if (!alive.delete(generation)) return
    for (const source of generation.sources)
      if (![...alive].some(({ sources }) => sources.includes(source))) closeServed(source)
  }

  const scanning = (seconds: number): NodeJS.Timeout =>
    setInterval(() => {
      for (const { intake } of current.sources) intake.scan()
      wake()
    }, seconds * 1000)

  hook.prepare(first)
  let current = begin(first, first.spools.map(openSource), throttleOf(first, log))
  let scan = scanning(first.interval)
  const served = (): Set<Served> => new Set(Array.from(alive, ({ sources }) => sources).flat())
  // On its own: whatever else takes long must not look like death to other daemons.
  const beating = setInterval(() => {
    for (const source of served()) beat(source)
  }, timing.heartbeat)
  const ticking = repeat(timing.tick, async count => {
    for (const source of served()) await lookAfter(source, count)
    hook.tick(current.config)
    turns = count
    wake()
  })

  const change = async (next: MaildropConfig): Promise<void> => {
    if (stopping) throw new MaildropError('RELOAD_REFUSED', 'the daemon is being stopped')
    await prepareSpools(next)
    const opened: Served[] = []
    const known = current.sources
    try {
      for (const spool of next.spools) {
        if (known.some(source => source.spool === spool)) continue
        opened.push(openSource(spool))
        await tidyStates(spool)
      }
    } catch (error) {
      for (const source of opened) closeServed(source)
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
      await untilDelivered(
        () => current,
        () => stopping,
      )
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
      releasePidFile(current.config.pidFile)
      log.line('stop', { pid: process.pid })
    },
  }
}

function destinationStatus({ destination: { status }, workers: { silence } }: Lane): DestinationStatus {
  if (status.state !== 'up' || silence === undefined) return status
  return { ...status, silence: { text: silence.text, seconds: Math.round((performance.now() - silence.since) / 1000) } }
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
