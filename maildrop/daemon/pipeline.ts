/**
 * When a worker takes the next message beside the one it sends, and begins it behind that one (RFC 2920 section 3.1).
 *
 * Only while there is enough for all connections, and nobody has to keep count of messages or time between them; only behind a message of which
 * nothing is left to be done but to hear what the server says; and only while the server answers quickly. What waits for the message ahead of it
 * does not wait for long: it is given back, so that another connection can send it.
 */
import { openAlarm } from '../delivery/alarm.ts'
import type { Parcel, Report } from '../delivery/parcel.ts'
import type { Session } from '../delivery/session.ts'
import { openAhead, type Taken } from './ahead.ts'
import { closeJob, giveBack, type Job, type JobContext } from './job.ts'
import type { Source, Supply } from './supply.ts'
import { type Attempt, type Load, loadJob, sendLoad } from './transaction.ts'

/** Those of all workers for one server. */
export interface Pipelines {
  /** True if none of them holds a message. */
  readonly empty: boolean
  open(): Pipeline
}

/** One worker's. */
export interface Pipeline {
  /** True if there is a message that has been taken, or is being taken. */
  readonly holds: boolean
  /** True while an envelope is on its way. */
  readonly begun: boolean
  /** The message to go on with. */
  take(): Promise<Taken<Source> | undefined>
  /**
   * Sends one transaction, and makes the next message ready meanwhile.
   * @returns undefined if the claim was lost: the message has not been sent
   */
  send(job: Job, load: Load, connection: Pick<Attempt, 'connect' | 'isProbe'>): Promise<Attempt | undefined>
  /** True, once, after a message that had begun was given back: the connection is of no more use. */
  isSpoilt(): boolean
  /** Gives everything back. */
  close(): Promise<void>
}

/**
 * Milliseconds within which the last message must have been taken, for the next one to be begun behind one; and after which one
 * that has been is given back.
 */
const AHEAD = { quick: 100, patience: 1000 }
/** Milliseconds for which nothing is begun behind a message after the server closed the connection at that; for ever if it was silent so long. */
const DISTRUST = { time: 60_000, silence: 5_000 }

/** @param isEnough whether there is more than all connections have to do */
export function openPipelines(supply: Supply, context: JobContext, isEnough: () => boolean): Pipelines {
  const { config } = context
  const all = new Set<Pipeline>()
  let distrustedUntil = 0

  const mayLookAhead = (session: Session): boolean =>
    session.pipelining && config.waitInterval === 0 && isEnough() && performance.now() >= distrustedUntil

  const claim = async (session: Session): Promise<Taken<Source> | undefined> => {
    if (!mayLookAhead(session)) return undefined
    const found = await supply.next()
    const job = found && (await supply.claim(found))
    if (found === undefined || job === undefined) return undefined
    const load = job.pending.length > 0 ? await loadJob(job, session, context) : undefined
    return { job, source: found.source, load }
  }

  const open = (): Pipeline => {
    const ahead = openAhead(claim, async job => {
      await giveBack(job, context)
      closeJob(job)
    })
    const patience = openAlarm()
    /** Whether the server took the last message quickly. */
    let quick = false
    let spoilt = false

    const beImpatient = (): void =>
      patience.set(AHEAD.patience, () => {
        spoilt ||= ahead.begun
        void ahead.drop()
      })

    const follow = (job: Job, { session, recipients }: Load): Parcel | undefined => {
      const isLast = recipients.length === job.pending.length
      const isRoom = config.batch === 0 || session.count < config.batch
      if (!quick || !isLast || !isRoom || !mayLookAhead(session)) return undefined
      const parcel = ahead.following(session)
      if (parcel === undefined) return undefined
      beImpatient()
      // Behind the packet that is being put together.
      queueMicrotask(() => ahead.fill(session))
      return parcel
    }

    const pipeline: Pipeline = {
      get holds() {
        return ahead.size > 0
      },
      get begun() {
        return ahead.begun
      },
      take: () => ahead.take(),
      async send(job, load, connection) {
        const wasBehind = load.parcel.begun && load.session.usable
        const sending = sendLoad(load, connection, context, () => follow(job, load))
        if (quick) ahead.fill(load.session)
        if (ahead.size > 0) beImpatient()
        const report = await sending
        patience.clear()
        if (report === undefined) return undefined
        quick = report.transfer < AHEAD.quick
        if (wasBehind && wasStale(report, load.session))
          distrustedUntil =
            report.transfer < DISTRUST.silence ? performance.now() + DISTRUST.time : Number.POSITIVE_INFINITY
        return report
      },
      isSpoilt() {
        const was = spoilt
        spoilt = false
        return was
      },
      async close() {
        patience.close()
        await ahead.drop()
        all.delete(pipeline)
      },
    }
    all.add(pipeline)
    return pipeline
  }

  return {
    get empty() {
      for (const { holds } of all) if (holds) return false
      return true
    },
    open,
  }
}

/** True if the server had closed a kept connection meanwhile: nothing was said about the message. */
export function wasStale({ end }: Report, session: Session): boolean {
  return end.stage === 'mail' && end.code === undefined && session.count > 1
}
