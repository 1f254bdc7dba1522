/**
 * The contract of a storage: what the database needs of the place where records lie.
 *
 * - Reads are synchronous, from a snapshot. A snapshot shows every transaction with a tid up to its own, whole, and none after.
 * - `commit` decides at once, synchronously, whether the transaction conflicts; what it accepts gets the next tid. Its promise resolves
 *   when the transaction is durable, all of it or nothing of it, and never before all transactions with smaller tids are.
 *   Transactions that wait together become durable together (group commit), in the order of their tids.
 * - If writing fails, every transaction of that write, and every one accepted since, is rejected with DATABASE_FAILED and none of them is visible.
 * - `onCommit` listeners hear of each durable transaction in the order of tids, before its promise resolves and
 *   before a new snapshot shows it.
 * - Outbox rows are written in the same indivisible step as the records of their transaction. What they mean is their owners' affair.
 *
 * Implementations run the suite in `tests/contract/storage.ts`.
 */
import type { Oid, Tid } from '../persistent.ts'
import type { RecordBody, StoredRecord } from '../record.ts'

export interface StorageSnapshot {
  /** The last transaction it shows; 0 in an empty storage. */
  readonly tid: Tid
  /** @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
  load(oid: Oid): StoredRecord | undefined
  /** Every snapshot has to be released once. */
  release(): void
}

export interface Change {
  readonly oid: Oid
  /** The serial of the revision that the change was made to; 0 for a new object. */
  readonly serial: Tid
  readonly record: RecordBody
}

/** Decides what to store for an object that `committed` another revision of: the merged record, or undefined for a conflict. */
export type Merge = (change: Change, committed: StoredRecord) => RecordBody | undefined

export interface TransactionRecord {
  readonly user: string
  readonly note: string
}

export interface Commit extends TransactionRecord {
  readonly changes: readonly Change[]
  readonly outbox: ReadonlyMap<string, Uint8Array>
  readonly merge: Merge
}

export interface Committed {
  readonly tid: Tid
  /** The objects whose stored state is not what the transaction had, but merged with another's. */
  readonly merged: ReadonlySet<Oid>
}

export interface CommitEvent extends TransactionRecord {
  readonly tid: Tid
  readonly oids: readonly Oid[]
}

export interface Storage {
  /** Where it is, for messages. */
  readonly location: string
  /** Random name of the database, given when it was created: 16 hexadecimal digits. */
  readonly id: string
  /** The last durable transaction. */
  readonly lastTid: Tid
  snapshot(): StorageSnapshot
  newOid(): Oid
  /** @throws {ObjectError} CONFLICT, DATABASE_CLOSED (at once); DATABASE_FAILED (by rejection) */
  commit(commit: Commit): Promise<Committed>
  onCommit(listener: (event: CommitEvent) => void): () => void
  /** The outbox rows whose keys begin with `prefix`, in the order of their keys. */
  outboxRows(prefix: string): AsyncIterable<[key: string, value: Uint8Array]>
  /** Writes outbox rows (undefined deletes) in one indivisible step; with `sync` they are durable when it resolves. */
  writeOutbox(
    rows: Iterable<readonly [key: string, value: Uint8Array | undefined]>,
    options: { sync: boolean },
  ): Promise<void>
  /** Waits until every accepted transaction is durable, or has failed. */
  settled(): Promise<void>
  /** Waits for the commits under way, then lets go of everything. */
  close(): Promise<void>
}
