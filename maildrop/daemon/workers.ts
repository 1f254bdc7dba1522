/**
 * The connections: each worker keeps one session and sends message after message over it.
 *
 * A worker looks for a message first, then opens its session if it has none, and claims last, so that nothing is ever claimed
 * for a server that cannot be reached. Workers are started as there is work, up to what the destination allows, and end
 * when there has been none for a while. A *run*, in the log, lasts from the first message to the moment when nothing is left.
 */
import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Alarm, openAlarm } from '../delivery/alarm.ts'
import { type Event, verdictOf } from '../delivery/outcome.ts'
import type { Parcel, Report } from '../delivery/parcel.ts'
import { openRelay, relayName } from '../delivery/relay.ts'
import { type Session, SessionError } from '../delivery/session.ts'
import { concernsOneFile, messageOf } from '../errors.ts'
import type { Claims } from '../spool/claim.ts'
import { type Ahead, openAhead, type Taken } from './ahead.ts'
import type { Destination } from './destination.ts'
import type { Candidate, Intake } from './intake.ts'
import {
  type Attempt,
  claimJob,
  closeJob,
  type FinishedJob,
  finishJob,
  giveBack,
  type Job,
  type JobContext,
  type Load,
  loadJob,
  sendLoad,
  settleJob,
} from './job.ts'
import type { Permit, Throttle } from './throttle.ts'
import type { Trouble } from './trouble.ts'

/** One spool that is served. */
export interface Source {
  readonly intake: Intake
  readonly claims: Claims
  readonly trouble: Trouble
}

export interface Workers {
  /** To be called when there may be something to do. */
  wake(): void
  /** Connections that are open, and messages that are being looked at or sent. */
  readonly open: number
  readonly busy: number
  /**
   * Ends: messages in transfer get `grace` milliseconds to finish and are given back then; without one, all the time they
   * take. May be called again with less.
   */
  stop(grace?: number): Promise<void>
}

/** Milliseconds for which a session without work is kept open. */
const IDLE_TIME = 2000
/** Milliseconds for which no further connection is tried after the server refused one while others work. */
const CROWDED_TIME = 5000
/** Milliseconds for which nothing is taken from a spool that could not be read or written. */
const TROUBLE_TIME = 1000
/** Messages whose outcome could not be written down yet beyond which no further one is sent. */
const MAX_PARKED = 100
/** Messages in a row without an answer after which the server counts as down. */
const MAX_DROPS = 3
/**
 * Milliseconds within which the last message must have been taken, for the next one to be begun behind one; and after which one
 * that has been is given back, so that another connection can send it.
 */
const AHEAD = { quick: 100, patience: 1000 }
/** Milliseconds for which nothing is begun behind a message after the server closed the connection at that; for ever if it was silent so long. */
const DISTRUST = { time: 60_000, silence: 5_000 }

/** What belongs to one worker. */
interface Lane {
  readonly ahead: Ahead<Source>
  /** Whether the server took the last message quickly. */
  quick: boolean
  /** A message that had begun has been given back, so the connection is of no more use. */
  withdrawn: boolean
  readonly patience: Alarm
}

export function startWorkers(
  sources: readonly Source[],
  surroundings: Omit<JobContext, 'park'> & { readonly destination: Destination; readonly throttle: Throttle },
): Workers {
  const { config, log, destination, throttle } = surroundings
  const name = relayName(config)
  const relay = openRelay(config)
  const workers = new Set<Promise<void>>()
  const sessions = new Set<Session>()
  /** Those of which the log says nothing yet, because the server could not be used before. */
  const untold = new Set<Session>()
  const connecting = new AbortController()
  setMaxListeners(0, connecting.signal)
  const waiting = new Set<() => void>()
  const run = { since: 0, active: false, rescanned: false, sent: 0, deferred: 0, failed: 0 }
  /** Spools that could not be read or written, and until when nothing is taken from them. */
  const troubled = new Map<Source, number>()
  /** Messages of which it could not be written down yet what became of them. */
  const parked = new Set<Promise<void>>()
  const context: JobContext = {
    ...surroundings,
    async park(work) {
      const entry = work.finally(() => parked.delete(entry))
      parked.add(entry)
      if (parked.size >= MAX_PARKED) await entry
    },
  }
  let busy = 0
  let stopping = false
  let aborted = false
  let crowdedUntil = 0
  let turn = 0
  let drops = 0
  let permitted: NodeJS.Timeout | undefined
  const aheads = new Set<Ahead<Source>>()
  let distrustedUntil = 0

  const backlog = (): number => sources.reduce((sum, source) => sum + (rests(source) ? 0 : source.intake.backlog), 0)

  const rests = (source: Source): boolean => performance.now() < (troubled.get(source) ?? 0)

  const setAside = (source: Source, error: unknown): void => {
    source.trouble.begin('delivery', error)
    troubled.set(source, performance.now() + TROUBLE_TIME)
  }

  const wake = (): void => {
    if (stopping) return
    const crowded = sessions.size > 0 && performance.now() < crowdedUntil
    const allowed = crowded ? sessions.size : destination.allowance
    const wanted = Math.min(allowed, backlog() + busy)
    if (throttle.wait > 0) {
      if (backlog() > 0) wakeLater()
      return
    }
    if (backlog() > 0) for (const resume of waiting) resume()
    while (workers.size < wanted) start()
  }

  const wakeLater = (): void => {
    permitted ??= setTimeout(() => {
      permitted = undefined
      wake()
    }, throttle.wait)
  }

  const start = (): void => {
    const worker = work()
      .catch(error => log.line('worker-failed', { text: messageOf(error) }))
      .finally(() => {
        workers.delete(worker)
        if (workers.size === 0) endRun()
      })
    workers.add(worker)
  }

  /** The next file of all spools in turn. */
  const next = async (): Promise<[Candidate, Source] | undefined> => {
    for (let i = 0; i < sources.length; i++) {
      const source = sources[turn++ % sources.length]!
      if (rests(source)) continue
      try {
        const candidate = await source.intake.next()
        if (candidate !== undefined) return [candidate, source]
      } catch (error) {
        setAside(source, error)
      }
    }
    return undefined
  }

  const work = async (): Promise<void> => {
    let session: Session | undefined
    const ahead = openAhead(claimAhead, async job => {
      await giveBack(job, context)
      closeJob(job)
    })
    aheads.add(ahead)
    const lane: Lane = { ahead, quick: false, withdrawn: false, patience: openAlarm() }
    let idleSince = performance.now()
    try {
      while (!stopping && workers.size <= destination.allowance) {
        const permit = throttle.wait > 0 ? undefined : throttle.take()
        const taken = ahead.size > 0 ? await ahead.take() : undefined
        const found = permit && taken === undefined ? await next() : undefined
        if (permit === undefined || (found === undefined && taken === undefined)) {
          permit?.end()
          if (permit === undefined) wake()
          if (!(await pause(session, idleSince))) return
          continue
        }
        busy += 1
        try {
          const after =
            taken !== undefined
              ? await proceed(taken, session, lane)
              : await handle(found![0], found![1], session, permit, lane)
          if (after === 'unreachable') return
          session = after
          if (lane.withdrawn) {
            lane.withdrawn = false
            if (session !== undefined) closeSession(session)
            session = undefined
          }
        } finally {
          permit.end()
          busy -= 1
          idleSince = performance.now()
        }
      }
    } finally {
      lane.patience.close()
      await ahead.drop()
      aheads.delete(ahead)
      if (session) closeSession(session)
    }
  }

  /** Waits for work; false when there has been none for a while. The last one to get here ends the run. */
  const pause = async (session: Session | undefined, since: number): Promise<boolean> => {
    if (busy === 0 && run.active && throttle.wait === 0 && [...aheads].every(({ size }) => size === 0)) {
      if (!run.rescanned) {
        run.rescanned = true
        for (const { intake } of sources) intake.scanNew()
        return true
      }
      endRun()
    }
    const left = since + IDLE_TIME - performance.now()
    if (session === undefined || left <= 0) return false
    return await new Promise<boolean>(resolve => {
      const finish = (more: boolean) => () => {
        clearTimeout(timer)
        waiting.delete(resume)
        resolve(more)
      }
      const resume = finish(true)
      const timer = setTimeout(finish(false), left)
      waiting.add(resume)
    })
  }

  /** Sends one candidate; returns the session to go on with. */
  const handle = async (
    candidate: Candidate,
    source: Source,
    current: Session | undefined,
    permit: Permit,
    lane: Lane,
  ): Promise<Session | undefined | 'unreachable'> => {
    let session = current?.usable ? current : undefined
    const start = performance.now()
    let connectTime = 0
    if (candidate.content.kind === 'mail' && session === undefined) {
      try {
        session = await connect()
      } finally {
        if (session === undefined) source.intake.putBack(candidate)
      }
      if (session === undefined) return 'unreachable'
      connectTime = performance.now() - start
    }
    const job = await claim(candidate, source)
    if (job === undefined || session === undefined) return session
    beginRun()
    if (job.pending.length > 0) permit.use()
    return await attempt(job, source, { session, connectTime, load: undefined }, lane)
  }

  /** Goes on with a message that was taken ahead; its session may have ended since. */
  const proceed = async (
    { job, source, load }: Taken<Source>,
    current: Session | undefined,
    lane: Lane,
  ): Promise<Session | undefined | 'unreachable'> => {
    beginRun()
    const isReady = load?.session === current && (load?.parcel.begun || current?.usable)
    const start = performance.now()
    const session = isReady || current?.usable ? current : await connect()
    if (session === undefined) {
      await giveBack(job, context)
      closeJob(job)
      return 'unreachable'
    }
    const connectTime = session === current ? 0 : performance.now() - start
    return await attempt(job, source, { session, connectTime, load: isReady ? load : undefined }, lane)
  }

  /** Claims a file; undefined if it is no message, or not to be had. */
  const claim = async (candidate: Candidate, source: Source): Promise<Job | undefined> => {
    try {
      const job = await claimJob(candidate, source.claims, context)
      source.intake.done(candidate)
      troubled.delete(source)
      source.trouble.end('delivery')
      return job
    } catch (error) {
      if (concernsOneFile(error)) source.intake.leave(candidate, error)
      else {
        source.intake.putBack(candidate)
        setAside(source, error)
      }
      return undefined
    }
  }

  const claimAhead = async (session: Session): Promise<Taken<Source> | undefined> => {
    if (!mayLookAhead(session)) return undefined
    const [candidate, source] = (await next()) ?? []
    const job = candidate && source && (await claim(candidate, source))
    if (job === undefined || source === undefined) return undefined
    return { job, source, load: job.pending.length > 0 ? await loadJob(job, session, context) : undefined }
  }

  /** Only while there is enough for all connections, and nobody has to keep count of messages or time between them. */
  const mayLookAhead = (session: Session): boolean =>
    session.pipelining &&
    !stopping &&
    throttle.status === undefined &&
    config.waitInterval === 0 &&
    waiting.size === 0 &&
    workers.size <= destination.allowance &&
    backlog() > workers.size &&
    performance.now() >= distrustedUntil

  /** What is begun behind a message of which nothing is left to be done but to hear what the server says. */
  const follow = (job: Job, load: Load, lane: Lane): Parcel | undefined => {
    const { session } = load
    const isLast = load.recipients.length === job.pending.length
    const isRoom = config.batch === 0 || session.count < config.batch
    if (!lane.quick || !isLast || !isRoom || !mayLookAhead(session)) return undefined
    const parcel = lane.ahead.following(session)
    if (parcel === undefined) return undefined
    beImpatient(lane)
    // Behind the packet that is being put together.
    queueMicrotask(() => lane.ahead.fill(session))
    return parcel
  }

  /** What waits for the message ahead of it, begun or only claimed, does not wait for long. */
  const beImpatient = (lane: Lane): void =>
    lane.patience.set(AHEAD.patience, () => {
      lane.withdrawn ||= lane.ahead.begun
      void lane.ahead.drop()
    })

  /** One transaction. */
  const transmit = async (job: Job, load: Load, connectTime: number, lane: Lane): Promise<Attempt | undefined> => {
    const wasBehind = load.parcel.begun && load.session.usable
    const isProbe = destination.status.state !== 'up'
    const sending = sendLoad(load, { connect: connectTime, isProbe }, context, () => follow(job, load, lane))
    if (lane.quick) lane.ahead.fill(load.session)
    if (lane.ahead.size > 0) beImpatient(lane)
    const report = await sending
    lane.patience.clear()
    if (report === undefined) return undefined
    lane.quick = report.transfer < AHEAD.quick
    if (wasBehind && wasStale(report, load.session))
      distrustedUntil =
        report.transfer < DISTRUST.silence ? performance.now() + DISTRUST.time : Number.POSITIVE_INFINITY
    return report
  }

  /** One attempt: a transaction, or as many as the recipients need. */
  const attempt = async (
    first: Job,
    source: Source,
    on: { readonly session: Session; readonly connectTime: number; readonly load: Load | undefined },
    lane: Lane,
  ): Promise<Session | undefined | 'unreachable'> => {
    let { session, connectTime, load } = on
    let job = first
    try {
      if (job.pending.length === 0) {
        count(await finishJob(job, context), source)
        return session
      }
      for (;;) {
        let report = await transmit(job, load ?? (await loadJob(job, session, context)), connectTime, lane)
        if (report !== undefined && wasStale(report, session)) {
          const start = performance.now()
          const fresh = await connect()
          if (fresh === undefined) {
            await giveBack(job, context)
            return 'unreachable'
          }
          session = fresh
          report = await transmit(job, await loadJob(job, session, context), performance.now() - start, lane)
        }
        if (report === undefined) return session
        if (aborted && report.end.stage !== 'dot') {
          await giveBack(job, context)
          return session
        }
        if (isAnswer(report.end)) {
          if (untold.delete(session)) tellOf(session)
          beginRun(true)
        }
        const settled = await settleJob(job, report, session.usable && !stopping, context)
        judgeServer(report.end)
        if (settled.end === 'go-on') {
          job = settled.job
          connectTime = 0
          load = undefined
          continue
        }
        count(settled, source)
        return await afterMessage(session, lane)
      }
    } finally {
      closeJob(first)
    }
  }

  const count = (settled: FinishedJob, source: Source): void => {
    if (settled.end === 'remove') run.sent += 1
    else if (settled.end === 'fail') run.failed += 1
    else {
      run.deferred += 1
      if (settled.end === 'defer') source.intake.expect(settled.due)
    }
  }

  /** One message that makes the server hang up is that message's trouble, several in a row are the server's. */
  const judgeServer = (end: Event): void => {
    drops = end.code === undefined && end.stage !== 'local' ? drops + 1 : 0
    if (verdictOf(end) === 'defer-server' || drops >= MAX_DROPS) destination.failed(end)
    else if (isAnswer(end)) destination.worked()
  }

  /** Reconnects after a batch, and waits between two messages. */
  const afterMessage = async (session: Session, lane: Lane): Promise<Session | undefined> => {
    if (lane.ahead.begun) return session
    if (config.waitInterval > 0 && !stopping) await rest()
    if (config.batch === 0 || session.count < config.batch) return session
    closeSession(session)
    return undefined
  }

  const rest = async (): Promise<void> => {
    const until = performance.now() + config.waitInterval * 1000
    while (!stopping && performance.now() < until) await sleep(Math.min(200, until - performance.now()))
  }

  const connect = async (): Promise<Session | undefined> => {
    try {
      const session = await relay.open(connecting.signal)
      if (destination.status.state === 'up') tellOf(session)
      else untold.add(session)
      sessions.add(session)
      session.closed.then(() => {
        sessions.delete(session)
        untold.delete(session)
      })
      return session
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      if (stopping) return undefined
      if (sessions.size > 0) crowdedUntil = performance.now() + CROWDED_TIME
      else destination.failed(error.event)
      return undefined
    }
  }

  const tellOf = ({ protection }: Session): void =>
    log.line('connected', { relay: name, protection, login: config.smtp.login?.user })

  const closeSession = (session: Session): void => {
    sessions.delete(session)
    session.quit()
  }

  /** Of probes that a server answers as before nothing is said, whether that goes on for minutes or for days. */
  const beginRun = (works = destination.status.state === 'up'): void => {
    run.rescanned = false
    if (run.active || !works) return
    Object.assign(run, { since: performance.now(), active: true, sent: 0, deferred: 0, failed: 0 })
    log.begin()
    log.line('run-begin', { pid: process.pid, waiting: backlog() + 1 })
  }

  const endRun = (): void => {
    if (run.active) {
      const ms = Math.round(performance.now() - run.since)
      log.line('run-end', { pid: process.pid, sent: run.sent, deferred: run.deferred, failed: run.failed, ms })
    }
    run.active = false
    log.end()
  }

  return {
    wake,
    get open() {
      return sessions.size
    },
    get busy() {
      return busy
    },
    async stop(grace) {
      stopping = true
      connecting.abort(new Error('the daemon was stopped'))
      clearTimeout(permitted)
      for (const resume of waiting) resume()
      const timer =
        grace === undefined
          ? undefined
          : setTimeout(() => {
              aborted = true
              for (const session of sessions) session.abort('the daemon was stopped')
            }, grace)
      await Promise.all(workers)
      await Promise.all(parked)
      clearTimeout(timer)
    },
  }
}

/** The server does its work, whatever it thinks of the message. */
function isAnswer(end: Event): boolean {
  return end.code !== undefined && verdictOf(end) !== 'defer-server'
}

/** A kept connection that the server had closed meanwhile: nothing was said about the message. */
function wasStale({ end }: Report, session: Session): boolean {
  return end.stage === 'mail' && end.code === undefined && session.count > 1
}
