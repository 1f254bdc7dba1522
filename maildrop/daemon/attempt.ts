/**
 * One attempt at one message over a worker's connection: a transaction, or as many as the recipients need, and what each says of the
 * server.
 *
 * A connection that the server had closed unnoticed is replaced once, before the message is blamed.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isAnswer } from '../delivery/outcome.ts'
import type { Session } from '../delivery/session.ts'
import type { Crew } from './crew.ts'
import { closeJob, giveBack, type Job } from './job.ts'
import { type Pipeline, wasStale } from './pipeline.ts'
import { type FinishedJob, finishJob, settleJob } from './settling.ts'
import type { Source } from './supply.ts'
import { type Load, loadJob } from './transaction.ts'

/** The session to go on with, if there is one; or that the server cannot be reached. */
export type After = Session | undefined | 'unreachable'

/** Where a message is sent. */
export interface Connected {
  readonly session: Session
  /** Milliseconds that opening it took; 0 if it was open. */
  readonly connect: number
  /** What has been made ready for it. */
  readonly load: Load | undefined
}

export async function attempt(
  crew: Crew,
  first: Job,
  source: Source,
  { session: opened, connect, load: ready }: Connected,
  pipeline: Pipeline,
): Promise<After> {
  const { context, connections, destination, run } = crew
  let session = opened
  const transact = async (job: Job, connect: number, ready?: Load) => {
    const load = ready ?? (await loadJob(job, session, context))
    return await pipeline.send(job, load, { connect, isProbe: destination.status.state !== 'up' })
  }
  let job = first
  try {
    if (job.pending.length === 0) {
      count(crew, await finishJob(job, context), source)
      return session
    }
    for (;;) {
      let report = await (job === first ? transact(job, connect, ready) : transact(job, 0))
      if (report !== undefined && wasStale(report, session)) {
        const start = performance.now()
        const fresh = await connections.connect()
        if (fresh === undefined) {
          await giveBack(job, context)
          return 'unreachable'
        }
        session = fresh
        report = await transact(job, performance.now() - start)
      }
      if (report === undefined) return session
      if (crew.aborted && report.end.stage !== 'dot') {
        await giveBack(job, context)
        return session
      }
      if (isAnswer(report.end)) {
        connections.answered(session)
        run.begin(true)
      }
      const settled = await settleJob(job, report, session.usable && !crew.ending, context)
      destination.heard(report.end)
      if (settled.end === 'go-on') {
        job = settled.job
        continue
      }
      count(crew, settled, source)
      return pipeline.begun ? session : await afterMessage(crew, session)
    }
  } finally {
    closeJob(first)
  }
}

function count({ run }: Crew, { end, due }: FinishedJob, source: Source): void {
  run.count(end)
  if (end === 'defer') source.intake.expect(due)
}

/** Waits between two messages, and reconnects after a batch. */
async function afterMessage(crew: Crew, session: Session): Promise<Session | undefined> {
  const { batch, waitInterval } = crew.context.config
  if (waitInterval > 0) await rest(crew, waitInterval * 1000)
  if (batch === 0 || session.count < batch) return session
  crew.connections.close(session)
  return undefined
}

async function rest(crew: Crew, ms: number): Promise<void> {
  const until = performance.now() + ms
  while (!crew.ending && performance.now() < until) await sleep(Math.min(200, until - performance.now()))
}
