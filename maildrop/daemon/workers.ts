/**
 * The workers for one server: started as there is work, up to what the destination allows; they end when there has been none for a
 * while.
 *
 *     supply ──▶ worker ──▶ attempt ──▶ pipeline     (the next message, taken beside the one that is sent)
 *     (spools)      └──▶ connections ──▶ destination (the circuit breaker)
 */
import type { Silence } from '../delivery/dialogue.ts'
import { messageOf } from '../errors.ts'
import { openConnections } from './connections.ts'
import type { Crew } from './crew.ts'
import type { Destination } from './destination.ts'
import type { JobContext } from './job.ts'
import { openPipelines } from './pipeline.ts'
import { openRun } from './run.ts'
import { openSupply, type Source } from './supply.ts'
import type { Throttle } from './throttle.ts'
import { work } from './worker.ts'

export interface Workers {
  /** To be called when there may be something to do. */
  wake(): void
  /** Connections that are open, and messages that are being looked at or sent. */
  readonly open: number
  readonly busy: number
  /** What the server owes for the longest time; undefined if nothing. */
  readonly silence: Silence | undefined
  /**
   * Ends: messages in transfer get `grace` milliseconds to finish and are given back then; without one, all the time they
   * take. May be called again with less.
   */
  stop(grace?: number): Promise<void>
}

/** Messages whose outcome could not be written down yet beyond which no further one is sent. */
const MAX_PARKED = 100

export function startWorkers(
  sources: readonly Source[],
  surroundings: Omit<JobContext, 'park'> & { readonly destination: Destination; readonly throttle: Throttle },
): Workers {
  const { config, log, destination, throttle } = surroundings
  const workers = new Set<Promise<void>>()
  /** Messages of which it could not be written down yet what became of them, and their spools. */
  const parked = new Map<Promise<void>, string>()
  const context: JobContext = {
    ...surroundings,
    async park(work, spool, error) {
      const trouble = sources.find(({ intake }) => intake.spool === spool)?.trouble
      trouble?.begin('record', error)
      const entry = work.finally(() => {
        parked.delete(entry)
        if (![...parked.values()].includes(spool)) trouble?.end('record')
      })
      parked.set(entry, spool)
      if (parked.size >= MAX_PARKED) await entry
    },
  }
  const supply = openSupply(sources, context)
  const connections = openConnections(config, log, destination)
  const waiting = new Set<() => void>()
  let ending = false
  let aborted = false
  let permitted: NodeJS.Timeout | undefined

  const wake = (): void => {
    if (ending) return
    const wanted = Math.min(connections.limit(destination.allowance), supply.backlog + crew.busy)
    if (throttle.wait > 0) {
      if (supply.backlog > 0) wakeLater()
      return
    }
    if (supply.backlog > 0) for (const resume of waiting) resume()
    while (workers.size < wanted) start()
  }

  const wakeLater = (): void => {
    permitted ??= setTimeout(() => {
      permitted = undefined
      wake()
    }, throttle.wait)
  }

  const start = (): void => {
    const worker = work(crew)
      .catch(error => log.line('worker-failed', { text: messageOf(error) }))
      .finally(() => {
        workers.delete(worker)
        if (workers.size === 0) crew.run.end()
      })
    workers.add(worker)
  }

  /** Only while there is enough for all connections, and nobody has to count messages. */
  const isEnough = (): boolean =>
    !ending &&
    throttle.status === undefined &&
    waiting.size === 0 &&
    workers.size <= destination.allowance &&
    supply.backlog > workers.size

  const crew: Crew = {
    context,
    destination,
    throttle,
    supply,
    connections,
    pipelines: openPipelines(supply, context, isEnough),
    run: openRun(log, () => supply.backlog),
    get size() {
      return workers.size
    },
    busy: 0,
    waiting,
    wake,
    get ending() {
      return ending
    },
    get aborted() {
      return aborted
    },
  }

  return {
    wake,
    get open() {
      return connections.open
    },
    get busy() {
      return crew.busy
    },
    get silence() {
      return connections.silence
    },
    async stop(grace) {
      ending = true
      connections.stop()
      clearTimeout(permitted)
      for (const resume of waiting) resume()
      const timer =
        grace === undefined
          ? undefined
          : setTimeout(() => {
              aborted = true
              connections.abort()
            }, grace)
      await Promise.all(workers)
      await Promise.all(parked.keys())
      clearTimeout(timer)
    },
  }
}
