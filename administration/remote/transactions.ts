/** Transactions on their way, as they lie in the database: so user, note and extension arrive exactly. */
import { transactionKey } from '../../lib/storage/keys.ts'
import type { TransactionEntry, TransactionRecord } from '../../lib/storage/storage.ts'
import { decodeTransaction, encodeTransaction } from '../../lib/storage/transaction-record.ts'

export interface Sent {
  readonly tid: number
  /** base64 */
  readonly bytes: string
}

/** @throws {ObjectError} INVALID_VALUE for what cannot be stored */
export function sentEntry(entry: TransactionEntry): Sent {
  const bytes = encodeTransaction({ ...entry, previous: 0, nextOid: 1 })
  return { tid: entry.tid, bytes: bytes.toString('base64') }
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function receivedEntry({ tid, bytes }: Sent): TransactionEntry {
  const entry = decodeTransaction(transactionKey(tid), Buffer.from(bytes, 'base64'))
  const { user, note, extension, oids, classes } = entry
  return { tid, user, note, extension, oids, classes }
}

/** What is said of a transaction that is still to be committed. @throws {ObjectError} INVALID_VALUE */
export const sentRecord = ({ user, note, extension }: TransactionRecord): Sent =>
  sentEntry({ tid: 1, user, note, extension, oids: [], classes: [] })
