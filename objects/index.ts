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
  type Connection,
  Counter,
  type Database,
  type DataManager,
  ERROR_CODES,
  type ErrorCode,
  type ExportSource,
  isRetryable,
  type LogEntry,
  type Moment,
  ObjectError,
  type Oid,
  type PackOptions,
  type PackResult,
  Persistent,
  type PersistentClass,
  PersistentList,
  PersistentMap,
  PersistentRef,
  type Problem,
  type Range,
  type Revision,
  registerClass,
  restoreDatabase,
  type Savepoint,
  type Tid,
  type Transaction,
  type TransactOptions,
  type UndoLogOptions,
  type VerifyResult,
} from '../lib/index.ts'
export { MaildropError } from '../maildrop/index.ts'
export { type MailHost, TemplateError } from '../templates/index.ts'
export { Application } from './application.ts'
export type { Message } from './attachments.ts'
export { type OpenOptions, openDatabase } from './database.ts'
export { type SubscribeOptions, subscribe, type TreeEvent, type TreeListener } from './events.ts'
export { exportTree, importTree } from './export.ts'
export { File } from './file.ts'
export { Folder } from './folder.ts'
export { MaildropHost, type SendTemplateOptions } from './maildrop-host.ts'
export { OrderedFolder } from './ordered-folder.ts'
export { type PreviewedMessage, preview } from './preview.ts'
export { type Properties, type PropertySpec, propertiesOf, setProperty } from './properties.ts'
export { renderFile } from './render-file.ts'
export type { SendOptions } from './send-options.ts'
export { type ContentType, Template, type TemplateMessageOptions, type TemplateOptions } from './template.ts'
