/** The package's main entry: the object database, the classes of the tree, and the way to open it. */
export {
  acquire,
  type BackupResult,
  Blob,
  type BlobSource,
  Broken,
  BTree,
  type CacheLimits,
  type ChangesOptions,
  type ClassOptions,
  type ConflictResolver,
  type Connection,
  Counter,
  type Database,
  type DatabaseStats,
  type DataManager,
  ERROR_CODES,
  type ErrorCode,
  type ExportSource,
  isRetryable,
  type Key,
  type LogEntry,
  type Moment,
  ObjectError,
  type Oid,
  type OpenConnectionOptions,
  type PackOptions,
  type PackProgress,
  type PackResult,
  Persistent,
  type PersistentClass,
  PersistentList,
  PersistentMap,
  PersistentRef,
  type Problem,
  type Range,
  type RecordCounts,
  type Revision,
  registerClass,
  restoreDatabase,
  type Savepoint,
  type StateRecord,
  type Tid,
  type Transaction,
  type TransactionStatus,
  type TransactOptions,
  type UndoLogOptions,
  type UpgradeOptions,
  type VerifyResult,
} from '../lib/index.ts'
export type { ComposedMessage } from '../maildrop/compose/index.ts'
export {
  COMPOSE_ERROR_CODES,
  ComposeError,
  type ComposeErrorCode,
  MAILDROP_ERROR_CODES,
  MaildropError,
  type MaildropErrorCode,
} from '../maildrop/index.ts'
export { type MailHost, TEMPLATE_ERROR_CODES, TemplateError, type TemplateErrorCode } from '../templates/index.ts'
export { Application } from './application.ts'
export type { Message } from './attachments.ts'
export { type OpenOptions, openDatabase } from './database.ts'
export { type SubscribeOptions, subscribe, type TreeEvent, type TreeListener } from './events.ts'
export { exportTree, importTree } from './export.ts'
export { File } from './file.ts'
export { Folder } from './folder.ts'
export type { MaildropConfigs } from './mail-system.ts'
export { MaildropHost, type SendTemplateOptions } from './maildrop-host.ts'
export { OrderedFolder } from './ordered-folder.ts'
export { type PreviewedMessage, preview } from './preview.ts'
export { type Properties, type PropertySpec, propertiesOf, setProperty } from './properties.ts'
export { renderFile } from './render-file.ts'
export type { SendOptions } from './send-options.ts'
export { type ContentType, Template, type TemplateMessageOptions, type TemplateOptions } from './template.ts'
