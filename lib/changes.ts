/** The change feed: committed transactions, in order, from any moment on; then each new one as it becomes durable. */
import { checkSignal, shown } from './arguments.ts'
import { isRetryable, ObjectError } from './errors.ts'
import { type LogEntry, logEntry, timeOf } from './history.ts'
import type { Tid } from './ids.ts'
import type { Storage } from './storage/storage.ts'

export interface ChangesOptions {
  /** The last transaction already known; by default the newest, so that only new ones come. */
  readonly since?: Tid
  /** Ends the feed. */
  readonly signal?: AbortSignal
}

/**
 * The feed as it is given away: whoever returns it (a stream of it that is destroyed does) ends it, also while it waits for the next transaction.
 * Everything else is said at `feed`.
 */
export function changes(
  storage: Storage,
  { signal, ...options }: ChangesOptions,
  closing: AbortSignal,
): AsyncIterableIterator<LogEntry> {
  checkSignal('changes', signal)
  const returned = new AbortController()
  const over = [closing, returned.signal, ...(signal === undefined ? [] : [signal])]
  const entries = feed(storage, options, AbortSignal.any(over))
  return {
    next: () => entries.next(),
    return() {
      returned.abort()
      return entries.return(undefined)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

/**
 * Every transaction after `since`, once, in order; ends when the signal is given or the database is closed. Whoever keeps the tid of the
 * last one it has dealt with can go on from there after a restart.
 * @throws {ObjectError} INVALID_ARGUMENT for a `since` that this database does not know; HISTORY_PACKED if transactions after `since` have been packed away
 */
async function* feed(
  storage: Storage,
  { since = storage.lastTid }: Omit<ChangesOptions, 'signal'>,
  over: AbortSignal,
): AsyncGenerator<LogEntry, undefined> {
  if (!Number.isSafeInteger(since) || since < 0 || since > storage.lastTid)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `changes: since must be the id of a transaction of ${storage.location}, of which the last one is ${storage.lastTid}; found ${shown(since)}. If the database was restored from a backup, begin anew from its present state`,
    )
  let known = since
  let wake = () => {}
  const stop = storage.onCommit(() => wake())
  const ended = () => wake()
  over.addEventListener('abort', ended)
  try {
    while (!over.aborted) {
      if (known < storage.packed)
        throw new ObjectError(
          'HISTORY_PACKED',
          `the transactions after ${timeOf(known).toISOString()} are no longer known in full: the database was packed up to ${timeOf(storage.packed).toISOString()}; begin anew from the present state`,
        )
      if (storage.lastTid === known) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
        continue
      }
      try {
        for await (const entry of storage.transactions({ after: known, upTo: storage.lastTid })) {
          if (over.aborted) return
          known = entry.tid
          yield logEntry(entry)
        }
      } catch (error) {
        if (!isRetryable(error)) throw error
        await storage.settled()
      }
    }
  } finally {
    stop()
    over.removeEventListener('abort', ended)
  }
}
