/**
 * The daemon: watches the spools, delivers what it finds, until it is told to stop.
 *
 * It starts whether or not the SMTP server can be reached, survives a spool that is removed, a full disk and a log that
 * cannot be written, and ends by finishing (or giving back) what it has begun.
 */
import type { MaildropConfig } from '../config.ts'
import { messageOf } from '../errors.ts'
import { openClaims } from '../spool/claim.ts'
import { ensureSpool } from '../spool/layout.ts'
import { openDestination } from './destination.ts'
import { openIntake } from './intake.ts'
import type { Log } from './log.ts'
import { claimPidFile, releasePidFile } from './pid-file.ts'
import { openRecovery, tidyStates } from './recovery.ts'
import { startWorkers } from './workers.ts'

export interface Daemon {
  /** Finishes the messages in transfer, gives back what takes too long, and ends. */
  stop(): Promise<void>
}

/** Milliseconds that messages in transfer get to finish when the daemon stops. */
export const STOP_GRACE = 20_000

const TICK = 500
/** Every so many ticks. */
const HEARTBEAT = 10
const RECOVERY = 4

/**
 * @returns when the daemon is ready to deliver
 * @throws {MaildropError} ALREADY_RUNNING, SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
 */
export async function startDaemon(config: MaildropConfig, log: Log): Promise<Daemon> {
  for (const spool of config.spools) await ensureSpool(spool)
  claimPidFile(config.pidFile)
  try {
    return await deliverFrom(config, log)
  } catch (error) {
    releasePidFile(config.pidFile)
    throw error
  }
}

async function deliverFrom(config: MaildropConfig, log: Log): Promise<Daemon> {
  let stopping = false
  const wake = (): void => workers.wake()
  const sources = config.spools.map(spool => {
    const claims = openClaims(spool)
    return {
      claims,
      recovery: openRecovery(spool, claims.owner, log),
      intake: openIntake(spool, log, wake),
      /** Trouble with one spool is said once, and is not the others'. */
      complain: onceInARow(text => log.line('trouble', { spool, text })),
    }
  })
  const name = `${config.smtp.host}:${config.smtp.port}`
  const destination = openDestination(name, config.connections, log, wake)
  const workers = startWorkers(sources, { config, log, destination, stopping: () => stopping })

  const takeBack = async ({ recovery, intake }: (typeof sources)[number]): Promise<void> => {
    if ((await recovery.takeBack()) > 0) intake.scan()
  }

  const ticking = repeat(TICK, async count => {
    for (const source of sources) {
      try {
        await source.intake.tick()
        if (count % HEARTBEAT === 0) source.claims.heartbeat()
        if (count % RECOVERY === 0) await takeBack(source)
        source.complain(undefined)
      } catch (error) {
        source.complain(messageOf(error))
      }
    }
    wake()
  })
  const scanning = setInterval(() => {
    for (const { intake } of sources) intake.scan()
    wake()
  }, config.interval * 1000)

  for (const spool of config.spools) await tidyStates(spool)
  for (const source of sources) await takeBack(source)
  log.line('start', { pid: process.pid, relay: name, spool: config.spools.join(';'), config: config.file })
  wake()

  return {
    async stop() {
      log.line('stopping', { pid: process.pid })
      stopping = true
      clearInterval(scanning)
      await ticking.stop()
      destination.close()
      await workers.stop(STOP_GRACE)
      for (const { intake, claims } of sources) {
        intake.close()
        claims.close()
      }
      releasePidFile(config.pidFile)
      log.line('stop', { pid: process.pid })
    },
  }
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

/** Passes a text on unless it is the same as the last one. */
function onceInARow(say: (text: string) => void): (text: string | undefined) => void {
  let last: string | undefined
  return text => {
    if (text !== undefined && text !== last) say(text)
    last = text
  }
}
