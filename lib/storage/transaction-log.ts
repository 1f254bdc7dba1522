/**
 * The log of transactions, and its chain: each names the one before, so that a missing one is noticed, unless a pack has removed it.
 */
import { ObjectError } from '../errors.ts'
import type { Tid } from '../ids.ts'
import { range, transactionKey } from './keys.ts'
import { BINARY, entriesIn, failedRead, type Level } from './level.ts'
import type { TransactionEntry, TransactionRange } from './storage.ts'
import { type Counters, decodeCounters, decodeTransaction, type StoredTransaction } from './transaction-record.ts'

/**
 * Where the counters stand by the newest transaction on disk; undefined if there is none.
 * @param from one that should be there, and not far from the end; 0 if none is known. Looking onward from it is faster than from the end back
 * @throws {ObjectError} DATABASE_CORRUPT
 */
export async function newestTransaction(level: Level, from: Tid): Promise<Counters | undefined> {
  const all = range(Buffer.from('t'))
  const onward =
    from === 0
      ? []
      : await level
          .iterator({ ...BINARY, ...all, gte: transactionKey(from) })
          .all()
          .catch(failedRead)
  const row =
    onward.at(-1) ??
    (
      await level
        .iterator({ ...BINARY, ...all, reverse: true, limit: 1 })
        .all()
        .catch(failedRead)
    )[0]
  return row && decodeCounters(row[0], row[1])
}

/** Where the log belongs, and what may be missing in it. */
export interface LogOwner {
  readonly level: Level
  readonly location: string
  readonly lastTid: Tid
  /** The time of the last pack. */
  readonly packed: Tid
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export async function transaction({ level }: LogOwner, tid: Tid): Promise<TransactionEntry | undefined> {
  const key = transactionKey(tid)
  const value = await level.get(key, BINARY).catch(failedRead)
  return value && decodeTransaction(key, value)
}

/** The transactions in a range. @throws {ObjectError} DATABASE_CORRUPT where the chain has a gap */
export async function* transactions(
  owner: LogOwner,
  { after = 0, upTo, reverse = false }: TransactionRange = {},
): AsyncGenerator<TransactionEntry> {
  const newest = owner.lastTid
  const bounds = { gte: transactionKey(after + 1), lte: transactionKey(upTo ?? newest) }
  // the transaction that has to come next; undefined where any may
  let due = reverse && (upTo ?? newest) >= newest && newest > after ? newest : undefined
  let last: StoredTransaction | undefined
  for await (const [key, value] of entriesIn(owner.level, { ...BINARY, ...bounds, reverse })) {
    const entry = decodeTransaction(key, value)
    if (reverse) assertNext(owner, due, entry.tid)
    else assertNext(owner, last === undefined && entry.previous <= after ? undefined : entry.previous, last?.tid)
    due = entry.previous > after ? entry.previous : undefined
    last = entry
    yield entry
  }
  if (reverse) assertNext(owner, due, undefined)
  else if ((upTo ?? newest) >= newest && newest > after) assertNext(owner, newest, last?.tid)
}

/** @throws {ObjectError} DATABASE_CORRUPT if a transaction since `checkpoint` is missing */
export async function assertWhole(owner: LogOwner, checkpoint: Tid): Promise<void> {
  let first: Tid | undefined
  for await (const { tid } of transactions(owner, { after: checkpoint - 1 })) first ??= tid
  if (checkpoint > owner.packed && first !== checkpoint)
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `transaction ${checkpoint} is missing in ${owner.location}; restore the database from a backup`,
    )
}

/** @throws {ObjectError} DATABASE_CORRUPT if another transaction than the one that is due was found, and it was not packed away */
function assertNext(owner: LogOwner, due: Tid | undefined, found: Tid | undefined): void {
  if (due === undefined || due === found || due <= owner.packed) return
  throw new ObjectError(
    'DATABASE_CORRUPT',
    `transaction ${due} is missing in ${owner.location}, though others tell of it; restore the database from a backup`,
  )
}
