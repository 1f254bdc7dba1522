/** The object database's public names. */
export { checkFunction, checkOptions, shown, unexpected } from './arguments.ts'
export { type BackupResult, restoreDatabase } from './backup.ts'
export { Blob } from './blob.ts'
export { Broken } from './broken.ts'
export { BTree } from './btree.ts'
export type { Key, Range } from './btree-keys.ts'
export type { ChangesOptions } from './changes.ts'
export { Connection, type ConnectionOptions } from './connection.ts'
export { Counter } from './counter.ts'
export {
  Database,
  type OpenConnectionOptions,
  type OpenOptions,
  type Outbox,
  openDatabase,
  type TransactOptions,
} from './database.ts'
export { ERROR_CODES, type ErrorCode, isRetryable, ObjectError } from './errors.ts'
export type { LogEntry, Moment, Revision, UndoLogOptions } from './history.ts'
export { type Oid, ROOT_OID, type Tid } from './ids.ts'
export type { ConflictResolver } from './merge.ts'
export type { CacheLimits } from './object-cache.ts'
export { pauses } from './pauses.ts'
export { Persistent } from './persistent.ts'
export { PersistentList } from './persistent-list.ts'
export { PersistentMap } from './persistent-map.ts'
export { PersistentRef } from './persistent-ref.ts'
export {
  type ClassEntry,
  type ClassOptions,
  classNamed,
  entryOf,
  type PersistentClass,
  registerClass,
  registeredClasses,
  type StateRecord,
} from './registry.ts'
export { EXPLICIT, SOUND } from './state.ts'
export type { DatabaseStats } from './stats.ts'
export type { BlobSource } from './storage/blob-store.ts'
export { exchange, finishExchange, freshPlace } from './storage/exchange.ts'
export type { Level } from './storage/level.ts'
export { lockHolder } from './storage/lock-holder.ts'
export type { PackOptions, PackProgress, PackResult, RecordCounts } from './storage/storage.ts'
export { copyOf } from './subtree.ts'
export type { DataManager, Savepoint, Transaction, TransactionStatus } from './transaction.ts'
export { type ExportProgress, writeExport } from './transfer.ts'
export { type ExportSource, readExport, type Staged } from './transfer-reading.ts'
export {
  acquire,
  type Container,
  isContainer,
  type Located,
  parents,
  physicalPath,
  rootOf,
  traverse,
} from './traversal.ts'
export type { UpgradeOptions } from './upgrade.ts'
export type { Problem, VerifyResult } from './verify.ts'
