/**
 * The past: times and transactions as people name them, the revisions of an object, the log of transactions.
 *
 * History reaches back to the last pack. A view of an earlier time is refused rather than shown with holes.
 */
import { checkFunction, unexpected } from './arguments.ts'
import { ObjectError } from './errors.ts'
import type { Oid, Tid } from './ids.ts'
import { isGone } from './record.ts'
import type { Storage, TransactionEntry } from './storage/storage.ts'

/** A moment: a transaction's id, or a date. */
export type Moment = Tid | Date

/** A transaction in the log. */
export interface LogEntry extends Omit<TransactionEntry, 'within'> {
  readonly time: Date
}

/** A revision of an object, with the transaction that made it. */
export interface Revision {
  readonly tid: Tid
  readonly time: Date
  readonly user: string
  readonly note: string
  /** The class's name; empty where undoing its creation took the object back. */
  readonly className: string
  /** The version of the class's state. */
  readonly version: number
  /** Bytes of the state. */
  readonly size: number
}

export const timeOf = (tid: Tid): Date => new Date(Math.floor(tid / 1000))

export function logEntry({ within, ...entry }: TransactionEntry): LogEntry {
  return { ...entry, time: timeOf(entry.tid) }
}

/**
 * The last transaction that a view of the past shows.
 * @param at shows what was committed at that moment or before
 * @param before shows what was committed before that moment
 * @throws {ObjectError} INVALID_ARGUMENT for a future moment, or both; HISTORY_PACKED for one before the last pack
 */
export function lastSeen(
  storage: Storage,
  { at, before }: { at?: Moment | undefined; before?: Moment | undefined },
): Tid {
  if (at !== undefined && before !== undefined)
    throw new ObjectError('INVALID_ARGUMENT', 'open: at and before cannot both be given')
  const tid = at === undefined ? Math.max(0, tidOf(before as Moment, 'open', 0) - 1) : tidOf(at, 'open')
  if (tid > storage.lastTid && tid > Date.now() * 1000 + 999)
    throw new ObjectError('INVALID_ARGUMENT', `open: ${timeOf(tid).toISOString()} is in the future`)
  if (tid < storage.packed)
    throw new ObjectError(
      'HISTORY_PACKED',
      `${timeOf(tid).toISOString()} is before the last pack (${timeOf(storage.packed).toISOString()}); what was then is no longer known`,
    )
  return Math.min(tid, storage.lastTid)
}

/**
 * The tid that a moment stands for: of a date, the last one (or with `within` 0, the first one) of its millisecond.
 * @param operation for the message
 */
export function tidOf(moment: Moment, operation: string, within = 999): Tid {
  const tid = moment instanceof Date ? moment.getTime() * 1000 + within : moment
  if (Number.isSafeInteger(tid) && tid >= 0) return tid
  throw unexpected(operation, 'a transaction id or a date', moment)
}

/** An object's revisions, newest first, at most `size` of them. @throws {ObjectError} INVALID_ARGUMENT */
export async function revisionsOf(storage: Storage, oid: Oid, size: number): Promise<Revision[]> {
  if (!(typeof size === 'number' && size >= 0)) throw unexpected('history: size', 'a number from 0', size)
  const snapshot = storage.snapshot()
  try {
    const found: Revision[] = []
    for (const record of snapshot.revisions(oid)) {
      if (found.length >= size) break
      const entry = await storage.transaction(record.serial)
      found.push({
        tid: record.serial,
        time: timeOf(record.serial),
        user: entry?.user ?? '',
        note: entry?.note ?? '',
        className: record.className,
        version: record.version,
        size: isGone(record) ? 0 : record.state.length,
      })
    }
    return found
  } finally {
    snapshot.release()
  }
}

/**
 * The log, newest first: the entries that `filter` accepts, from the first-th (0) to the one before the last-th.
 * A negative `last` is the most entries to give, counted from the first-th (ZODB: undoLog).
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export async function undoLog(
  storage: Storage,
  { first = 0, last = 20, filter = () => true }: UndoLogOptions,
): Promise<LogEntry[]> {
  if (!Number.isSafeInteger(first) || first < 0) throw unexpected('undoLog: first', 'a whole number from 0', first)
  if (!Number.isSafeInteger(last)) throw unexpected('undoLog: last', 'a whole number', last)
  checkFunction('undoLog: filter', filter)
  const end = last < 0 ? first - last : last
  const found: LogEntry[] = []
  let number = 0
  for await (const each of storage.transactions({ after: storage.packed, reverse: true })) {
    if (number >= end) break
    const entry = logEntry(each)
    if (!accepts(filter, entry)) continue
    if (number >= first) found.push(entry)
    number += 1
  }
  return found
}

/** What the filter says; a promise is no answer, and would count as yes. */
function accepts(filter: (entry: LogEntry) => unknown, entry: LogEntry): boolean {
  const answer = filter(entry)
  if (!(answer instanceof Promise)) return Boolean(answer)
  answer.catch(() => undefined)
  throw new ObjectError(
    'INVALID_ARGUMENT',
    'undoLog: filter must answer at once, found a promise; take the log first, and look up what it needs then',
  )
}

export interface UndoLogOptions {
  /** Entries to skip. Default 0. */
  readonly first?: number
  /** The number of the entry to stop before; a negative one is how many to give at most: -5 is five from `first`. Default 20. */
  readonly last?: number
  /** Which transactions count. Default all. */
  readonly filter?: (entry: LogEntry) => boolean
}
