/**
 * One worker: keeps one connection and sends message after message over it, until there has been nothing to do for a while.
 *
 * It looks for a message first, then opens its connection if it has none, and claims last, so that nothing is ever claimed for a
 * server that cannot be reached.
 */
import type { Session } from '../delivery/session.ts'
import type { Taken } from './ahead.ts'
import { type After, attempt } from './attempt.ts'
import type { Crew } from './crew.ts'
import { closeJob, giveBack } from './job.ts'
import type { Pipeline } from './pipeline.ts'
import type { Found, Source } from './supply.ts'
import type { Permit } from './throttle.ts'

/** Milliseconds for which a connection without work is kept open. */
const IDLE_TIME = 2000

/** Resolves when the worker has ended. */
export async function work(crew: Crew): Promise<void> {
  const { connections, destination, supply, throttle } = crew
  const pipeline = crew.pipelines.open()
  let session: Session | undefined
  let idleSince = performance.now()
  try {
    while (!crew.ending && crew.size <= destination.allowance) {
      const permit = throttle.wait > 0 ? undefined : throttle.take()
      const taken = pipeline.holds ? await pipeline.take() : undefined
      const found = permit && taken === undefined ? await supply.next() : undefined
      if (permit === undefined || (found === undefined && taken === undefined)) {
        permit?.end()
        if (permit === undefined) crew.wake()
        if (!(await pause(crew, session, idleSince))) return
        continue
      }
      crew.busy += 1
      try {
        const after: After =
          taken === undefined
            ? await handle(crew, found!, session, permit, pipeline)
            : await proceed(crew, taken, session, pipeline)
        if (after === 'unreachable') return
        session = after
        if (pipeline.isSpoilt()) {
          if (session !== undefined) connections.close(session)
          session = undefined
        }
      } finally {
        permit.end()
        crew.busy -= 1
        idleSince = performance.now()
      }
    }
  } finally {
    await pipeline.close()
    if (session) connections.close(session)
  }
}

/** Sends one candidate. */
async function handle(
  crew: Crew,
  found: Found,
  current: Session | undefined,
  permit: Permit,
  pipeline: Pipeline,
): Promise<After> {
  let session = current?.usable ? current : undefined
  const start = performance.now()
  let connect = 0
  if (found.candidate.content.kind === 'mail' && session === undefined) {
    try {
      session = await crew.connections.connect()
    } finally {
      if (session === undefined) found.source.intake.putBack(found.candidate)
    }
    if (session === undefined) return 'unreachable'
    connect = performance.now() - start
  }
  const job = await crew.supply.claim(found)
  if (job === undefined || session === undefined) return session
  begin(crew)
  if (job.pending.length > 0) permit.use()
  return await attempt(crew, job, found.source, { session, connect, load: undefined }, pipeline)
}

/** Goes on with a message that was taken ahead; its connection may have ended since. */
async function proceed(
  crew: Crew,
  { job, source, load }: Taken<Source>,
  current: Session | undefined,
  pipeline: Pipeline,
): Promise<After> {
  begin(crew)
  const isReady = load?.session === current && (load?.parcel.begun || current?.usable)
  const start = performance.now()
  const session = isReady || current?.usable ? current : await crew.connections.connect()
  if (session === undefined) {
    await giveBack(job, crew.context)
    closeJob(job)
    return 'unreachable'
  }
  const connect = session === current ? 0 : performance.now() - start
  return await attempt(crew, job, source, { session, connect, load: isReady ? load : undefined }, pipeline)
}

function begin({ run, destination }: Crew): void {
  run.begin(destination.status.state === 'up')
}

/** Waits for work; false when there has been none for a while. The last one to get here ends the run. */
async function pause(crew: Crew, session: Session | undefined, since: number): Promise<boolean> {
  const { run, supply, throttle, waiting } = crew
  if (crew.busy === 0 && run.active && throttle.wait === 0 && crew.pipelines.empty) {
    if (run.mayGoOn()) {
      supply.scanNew()
      return true
    }
    run.end()
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
