/**
 * The contract of a storage: what the database needs of the place where records lie.
 *
 * - Reads are synchronous, from a snapshot. A snapshot shows every transaction with a tid up to its own, whole, and none after, and goes
 *   on showing the same whatever is committed or packed meanwhile.
 * - `commit` decides in one turn whether the transaction conflicts; what it accepts gets the next tid. Its promise resolves
 *   when the transaction is durable, all of it or nothing of it, and never before all transactions with smaller tids are.
 *   Transactions that wait together become durable together (group commit), in the order of their tids.
 * - If writing fails, every transaction of that write, and every one accepted since, is rejected with DATABASE_FAILED and none of them is visible.
 *   From then on every write is, until the storage is opened again, by itself or not; reading goes on. While it is being opened again, reading fails with
 *   READ_CONFLICT, and so does going on with what was being iterated over. It may be that some of the rejected are durable: listeners hear of them then.
 * - `onCommit` listeners hear of each durable transaction in the order of tids, before its promise resolves and
 *   before a new snapshot shows it.
 * - Every revision stays until a pack removes it: each names the one before, newest first.
 * - A transaction that refers to an object that was removed (by pack) or taken back (by undo) is refused with DANGLING_REFERENCE.
 * - Outbox rows are written in the same indivisible step as the records of their transaction. What they mean is their owners' affair.
 *
 * Implementations run the suite in `tests/contract/storage.ts`.
 */
import type { Oid, Tid } from '../ids.ts'
import type { RecordBody, StoredRecord } from '../record.ts'
import type { BlobStore } from './blob-store.ts'
import type { Level } from './level.ts'

export interface StorageSnapshot {
  /** The last transaction it shows; 0 in an empty storage. */
  readonly tid: Tid
  /** The current revision; undefined if there is none, or its creation was undone. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
  load(oid: Oid): StoredRecord | undefined
  /** The revisions that are left, newest first; with those that say that the object was taken back (`isGone`). */
  revisions(oid: Oid): Iterable<StoredRecord>
  /** Every snapshot has to be released once. */
  release(): void
}

export interface Change {
  readonly oid: Oid
  /** The serial of the revision that the change was made to; 0 for a new object. */
  readonly serial: Tid
  /** The new state, or GONE. */
  readonly record: RecordBody
  /** The objects it refers to. */
  readonly references: readonly Oid[]
  /** The structure of several objects that it is a part of; see Redo. */
  readonly within?: Oid | undefined
}

/** What is to be stored instead of a change, and what that refers to. */
export type Merged = Pick<Change, 'record' | 'references'>

/** Decides what to store for an object that `committed` another revision of: the merged record, or undefined for a conflict. */
export type Merge = (change: Change, committed: StoredRecord) => Merged | undefined

/**
 * Decides what to store for all changes of a transaction within one structure, of which one conflicts: changes of the latest revisions, or
 * undefined for a conflict.
 */
export type Redo = (
  within: Oid,
  changes: readonly Change[],
  now: { latest(oid: Oid): StoredRecord | undefined; newOid(): Oid },
) => readonly Change[] | undefined

/** Decides whether `committed` has these attributes as the revision had them that the transaction read. */
export type Unchanged = (oid: Oid, serial: Tid, attributes: readonly string[], committed: StoredRecord) => boolean

/** What people want to know of a transaction. */
export interface TransactionRecord {
  readonly user: string
  readonly note: string
  /** Further data of the application's, by name. */
  readonly extension: Readonly<Record<string, unknown>>
}

/** A transaction in the database's log. */
export interface TransactionEntry extends TransactionRecord {
  readonly tid: Tid
  /** The objects that it wrote. */
  readonly oids: readonly Oid[]
  /** The classes of these objects, each once. */
  readonly classes: readonly string[]
  /** Those of the objects that are parts of a structure, by the structure. */
  readonly within?: Within | undefined
}

/** Objects by the structure that they are a part of: the nodes of a BTree, and the tree itself, by the tree. */
export type Within = ReadonlyMap<Oid, readonly Oid[]>

export interface Commit extends TransactionRecord {
  readonly changes: readonly Change[]
  /** Objects that must still be at that serial (READ_CONFLICT). */
  readonly reads: ReadonlyMap<Oid, Tid>
  /** Of some of these only attributes count: `unchanged` tells whether those of a later revision are as they were. */
  readonly attributes?: ReadonlyMap<Oid, readonly string[]>
  readonly unchanged?: Unchanged
  readonly outbox: ReadonlyMap<string, Uint8Array>
  readonly merge: Merge
  readonly redo?: Redo
  /** What messages call an object, with its path; undefined if that is not known. */
  readonly place?: ((oid: Oid) => string | undefined) | undefined
}

export interface Committed {
  readonly tid: Tid
  /** The objects whose stored state is not what the transaction had, but merged with another's; they may be others than it changed. */
  readonly merged: ReadonlySet<Oid>
}

/** Which transactions: those with `after < tid <= upTo`, oldest first unless `reverse`. */
export interface TransactionRange {
  readonly after?: Tid
  readonly upTo?: Tid
  readonly reverse?: boolean
}

/**
 * How many objects were reached of those that there are (`mark`; with gc only), how many records were looked at (`sweep`: all with gc,
 * otherwise the earlier ones), how many transactions (`forget`: those up to the pack's time), and kinds of keys, of four (`compact`).
 */
export interface PackProgress {
  readonly phase: 'mark' | 'sweep' | 'forget' | 'compact'
  readonly done: number
}

export interface RecordCounts {
  /** Current records, one for each object, */
  readonly objects: number
  /** earlier ones, */
  readonly revisions: number
  /** and transactions. */
  readonly transactions: number
}

export interface PackOptions {
  /** Whether objects that nothing refers to any more are removed. Default true. */
  readonly gc?: boolean
  /** Is told how far it is. If it throws, the pack ends there; the next one does the rest. */
  readonly progress?: (state: PackProgress) => void
}

export interface PackResult {
  /** What was before is forgotten. */
  readonly packed: Tid
  /** How many objects were removed, */
  readonly objects: number
  /** earlier revisions of others, */
  readonly revisions: number
  /** and transactions of which nothing is left. */
  readonly transactions: number
}

export type RecordEntry = { readonly oid: Oid; readonly current: boolean } & (
  | { readonly record: StoredRecord; readonly damage: '' }
  | { readonly record: undefined; readonly damage: string }
)

export interface Storage {
  /** Where it is, for messages. */
  readonly location: string
  /** Random name of the database, given when it was created: 16 hexadecimal digits. */
  readonly id: string
  /** The last durable transaction. */
  readonly lastTid: Tid
  /** The time of the last pack: what was before it is no longer known in full. 0 if there was none. */
  readonly packed: Tid
  /** Files that were found damaged when it was opened. If there are any, it can only be read, and what cannot be relied on is an error. */
  readonly damage: readonly string[]
  /** Of a damaged one, the last transaction, if it is known to be missing. */
  readonly lostTid?: Tid | undefined
  snapshot(): StorageSnapshot
  newOid(): Oid
  /** @throws {ObjectError} CONFLICT, READ_CONFLICT, DANGLING_REFERENCE, DATABASE_CLOSED, DATABASE_FAILED */
  commit(commit: Commit): Promise<Committed>
  /**
   * Commits what `plan` gives, which it works out while every accepted transaction is durable and no other one is accepted.
   * @throws as `commit`; what `plan` throws
   */
  commitAtRest(plan: () => Promise<Commit>): Promise<Committed>
  /**
   * Of a commit that failed, and may have been written nevertheless: whether it was, as soon as that is known; undefined if the storage is closed before.
   * @returns undefined where only the next opening tells
   */
  outcomeOf?(commit: Commit): Promise<boolean | undefined> | undefined
  /** While it is being opened again after a failed write: until that has ended. */
  readonly reopening?: Promise<void> | undefined
  onCommit(listener: (entry: TransactionEntry) => void): () => void
  /** Every record of one state: the current ones in the order of oids, then the earlier ones. A damaged one comes without `record`. */
  records(): AsyncIterable<RecordEntry>
  /** How many there are now; looks at keys only. */
  countRecords(): Promise<RecordCounts>
  /** A durable transaction, if it is known still. @throws {ObjectError} DATABASE_CORRUPT */
  transaction(tid: Tid): Promise<TransactionEntry | undefined>
  /** The durable transactions in a range. @throws {ObjectError} DATABASE_CORRUPT where the chain has a gap */
  transactions(range?: TransactionRange): AsyncIterable<TransactionEntry>
  /**
   * Forgets what was before a moment; `before` is the last transaction whose history goes. Never forgets less than an earlier pack, and
   * finishes one that was interrupted. @throws {ObjectError} PACK_RUNNING, DATABASE_CORRUPT, DATABASE_FAILED
   */
  pack(options: PackOptions & { readonly before: Tid }): Promise<PackResult>
  /** The contents of blobs. */
  readonly blobs: BlobStore
  /**
   * Copies one state, without the outbox, into an empty LevelDB, under a new id. Every record is checked on the way.
   * @throws {ObjectError} DATABASE_CORRUPT, DATABASE_FAILED; what writing into the other one throws
   */
  copyTo(level: Level, progress: ((records: number) => void) | undefined): Promise<{ tid: Tid; records: number }>
  /** The outbox rows whose keys begin with `prefix`, in the order of their keys; a damaged one has no value. */
  outboxRows(prefix: string): AsyncIterable<[key: string, value: Uint8Array | undefined]>
  /** Writes outbox rows (undefined deletes) in one indivisible step; with `sync` they are durable when it resolves. */
  writeOutbox(
    rows: Iterable<readonly [key: string, value: Uint8Array | undefined]>,
    options: { sync: boolean },
  ): Promise<void>
  /** Waits until every transaction accepted so far is durable, or has failed. */
  settled(): Promise<void>
  /** Waits for the commits under way, then lets go of everything. */
  close(): Promise<void>
}
