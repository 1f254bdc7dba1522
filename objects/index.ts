/** The package's main entry: the object database, the classes of the tree, and the way to open it. */
export {
  acquire,
  Broken,
  BTree,
  type Connection,
  Counter,
  type Database,
  type DataManager,
  ERROR_CODES,
  type ErrorCode,
  isConflict,
  ObjectError,
  type Oid,
  Persistent,
  type PersistentClass,
  registerClass,
  type Savepoint,
  type Tid,
  type Transaction,
  type TransactOptions,
} from '../lib/index.ts'
export { MaildropError } from '../maildrop/index.ts'
export { type MailHost, renderFile, TemplateError } from '../templates/index.ts'
export { Application } from './application.ts'
export { type OpenOptions, openDatabase } from './database.ts'
export { Folder } from './folder.ts'
export { MaildropHost, type SendOptions } from './maildrop-host.ts'
export { type Properties, type PropertySpec, propertiesOf, setProperty } from './properties.ts'
export { type ContentType, Template } from './template.ts'
