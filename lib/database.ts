/**
 * The database: opening, connections, transactions that run again on conflict.
 */
import { resolve } from 'node:path'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { checkFunction, checkOptions, checkProgress, checkSignal, checkText, unexpected } from './arguments.ts'
import { type BackupResult, backup } from './backup.ts'
import { settleStaged, sweepBlobs } from './blob-care.ts'
import { type ChangesOptions, changes } from './changes.ts'
import { Connection, type ConnectionOptions } from './connection.ts'
import { isRetryable, ObjectError } from './errors.ts'
import {
  type LogEntry,
  lastSeen,
  type Moment,
  type Revision,
  revisionsOf,
  tidOf,
  type UndoLogOptions,
  undoLog,
} from './history.ts'
import { type Oid, ROOT_OID, type Tid } from './ids.ts'
import type { CacheLimits } from './object-cache.ts'
import type { Persistent } from './persistent.ts'
import { type DatabaseStats, statsOf } from './stats.ts'
import { openDirectory } from './storage/directory.ts'
import type { Level } from './storage/level.ts'
import { LevelStorage } from './storage/level-storage.ts'
import type { PackOptions, PackResult, RecordCounts, Storage } from './storage/storage.ts'
import type { Transaction } from './transaction.ts'
import { traverse } from './traversal.ts'
import { assertUndoable, undo } from './undo.ts'
import { type UpgradeOptions, upgradeAll } from './upgrade.ts'
import { type VerifyResult, verify } from './verify.ts'

export interface OpenOptions<Root extends Persistent> extends CacheLimits {
  /** Makes the root object of a new database. */
  readonly root: () => Root
  /** Whether a database may be created where there is none. Default true. */
  readonly create?: boolean
  /**
   * Opens a database of which a table file is damaged, for reading what is left of it: what is not certainly the newest is an error. Where the
   * newest transactions are lost, or may be, a warning and `verify` tell: the state before them is shown.
   * Damaged parts are taken out of LevelDB's files before it reads them, so do it on a copy. Default false.
   */
  readonly salvage?: boolean
  /**
   * Opens what somebody else may have made up, checksums and all: every file is looked through before LevelDB sees it, which ends the process
   * at what it does not expect. Takes as long as reading the files. `restoreDatabase` does it always. Default false.
   */
  readonly untrusted?: boolean
}

/** Options of `db.open`. */
export interface OpenConnectionOptions extends ConnectionOptions {
  /** The database as it was then, for reading only. */
  readonly at?: Moment
  /** The database as it was before that, for reading only. */
  readonly before?: Moment
}

/** Options of `db.transact`: what is kept with the transaction, and how often it is tried. */
export interface TransactOptions {
  readonly user?: string
  readonly note?: string
  /** How often the work is tried in all when it conflicts with other transactions. Default 3. */
  readonly attempts?: number
}

/**
 * Rows that became durable together with a transaction and wait for their owner to act on them. The database does not know what
 * they mean. Owners tell their rows by a prefix of the key.
 */
export type Outbox = Pick<Storage, 'outboxRows' | 'writeOutbox'>

/** An open database. `Root` is the class of the object at the top of its tree. */
export class Database<Root extends Persistent = Persistent> {
  /** The directory, or what stands for it. */
  readonly location: string
  /** Random name given to the database when it was created: 16 hexadecimal digits. */
  readonly id: string
  readonly outbox: Outbox
  /** For those who serve it to another process. */
  readonly storage: Storage
  private readonly closers: (() => Promise<void>)[] = []
  /** Those that are open: a pack leaves them the contents of blobs that they see. */
  private readonly connections = new Set<Connection<Root>>()
  /** What goes through the contents of blobs as of some moment: no pack removes any meanwhile. */
  private readonly blobReaders = new Set<Promise<unknown>>()
  private closing: Promise<void> | undefined
  private closed = false

  private readonly limits: CacheLimits
  private readonly ending = new AbortController()

  constructor(storage: Storage, { cacheSize, cacheBytes }: CacheLimits) {
    this.storage = storage
    this.limits = { cacheSize, cacheBytes }
    this.outbox = storage
    this.location = storage.location
    this.id = storage.id
    storage.onCommit(entry => {
      for (const each of this.connections) each.note(entry)
    })
  }

  /**
   * Opens a view of the database with its own objects, to be closed by the caller.
   *
   * @param options.at a transaction id or a date: the database as it was then, for reading only
   * @param options.before the database as it was before that
   * @throws {ObjectError} DATABASE_CLOSED, HISTORY_PACKED; INVALID_ARGUMENT for a future time
   */
  open(options: OpenConnectionOptions = {}): Connection<Root> {
    const { at, before, ...others } = checkOptions('open', options)
    this.assertOpen()
    const past = at === undefined && before === undefined ? undefined : lastSeen(this.storage, { at, before })
    const connection = new Connection<Root>({ storage: this.storage, past }, { ...this.limits, ...others }, this)
    this.connections.add(connection)
    return connection
  }

  /**
   * An object's revisions, newest first.
   * @param object its path or its oid
   * @param options.size the most to be listed; default 20
   * @throws {ObjectError} NOT_FOUND for a path; INVALID_ARGUMENT
   */
  async history(object: string | Oid, options: { size?: number } = {}): Promise<Revision[]> {
    this.assertOpen()
    const { size = 20 } = checkOptions('history', options)
    if (typeof object !== 'string' && !Number.isSafeInteger(object))
      throw unexpected('history', 'a path or an oid', object)
    return revisionsOf(this.storage, typeof object === 'number' ? object : this.oidAt(object), size)
  }

  /** The transactions that can be undone, newest first. */
  async undoLog(options: UndoLogOptions = {}): Promise<LogEntry[]> {
    this.assertOpen()
    return undoLog(this.storage, checkOptions('undoLog', options))
  }

  /**
   * Undoes one or several transactions, whole or not at all, in a new one.
   * @param options.signal whoever gives it before the decision wants no more: nothing is undone
   * @returns the new transaction's id
   * @throws {ObjectError} NOT_FOUND, HISTORY_PACKED, UNDO_CONFLICT, DANGLING_REFERENCE
   */
  async undo(
    tids: Tid | readonly Tid[],
    options: { user?: string; note?: string; signal?: AbortSignal } = {},
  ): Promise<Tid> {
    this.assertOpen()
    const { user = '', note = '', signal } = checkOptions('undo', options)
    checkSignal('undo', signal)
    const list = listOf(tids)
    return undo(this.storage, list, { user, note: note || `undo of ${list.join(', ')}`, signal })
  }

  /** Tells whether `undo` would do it now: throws what it would throw, and changes nothing. */
  async assertUndoable(tids: Tid | readonly Tid[]): Promise<void> {
    this.assertOpen()
    return assertUndoable(this.storage, listOf(tids))
  }

  /**
   * Forgets history, and removes objects that nothing refers to any more; readers and writers go on meanwhile.
   *
   * @param options.before the moment before which history is forgotten; default now. One before the last pack forgets nothing more.
   * @param options.gc whether unreachable objects are removed; default true
   * @throws {ObjectError} PACK_RUNNING, DATABASE_CORRUPT, DATABASE_FAILED, INVALID_ARGUMENT
   */
  async pack(options: PackOptions & { before?: Moment } = {}): Promise<PackResult> {
    this.assertOpen()
    const { before = new Date(), ...others } = checkOptions('pack', options)
    checkProgress('pack', others.progress)
    const result = await this.storage.pack({ ...others, before: tidOf(before, 'pack') })
    // what began before the pack sees the history, and needs its blobs
    await Promise.allSettled(this.blobReaders)
    await sweepBlobs(this.storage, () => Array.from(this.connections, each => (oid: Oid) => each.seen(oid)))
    return result
  }

  /**
   * The committed transactions after `since`, then each new one; an endless iteration until the signal is given or the database closes.
   * @throws {ObjectError} (at the first step) INVALID_ARGUMENT, HISTORY_PACKED
   */
  changes(options: ChangesOptions = {}): AsyncIterableIterator<LogEntry> {
    this.assertOpen()
    return changes(this.storage, checkOptions('changes', options), this.ending.signal)
  }

  /**
   * Stores every object of an older version or under an older name of its class anew, so that upgrade functions and aliases can go;
   * views of the past need them until the database has been packed.
   * @param options.progress is told how many objects were looked at; if it throws, the rest stays as it is
   * @returns how many
   */
  async upgrade(options: UpgradeOptions = {}): Promise<number> {
    this.assertOpen()
    checkProgress('upgrade', checkOptions('upgrade', options).progress)
    return upgradeAll(this, this.storage, options)
  }

  /** Counts what the database holds: a look through all records. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_FAILED */
  async stats(options: { readonly progress?: (done: number) => void } = {}): Promise<DatabaseStats> {
    this.assertOpen()
    const progress = checkProgress('stats', checkOptions('stats', options).progress)
    return this.readingBlobs(statsOf(this.storage, progress))
  }

  /** How many records and transactions there are: what the progress of long work counts up to. A look through all keys. */
  async countRecords(): Promise<RecordCounts> {
    this.assertOpen()
    return this.storage.countRecords()
  }

  private oidAt(path: string): Oid {
    const connection = this.open({ readOnly: true })
    try {
      return (traverse(connection.root, path) as Persistent)._p_oid as Oid
    } finally {
      connection.close()
    }
  }

  protected assertOpen(): void {
    if (this.closing !== undefined)
      throw new ObjectError('DATABASE_CLOSED', `the database ${this.location} has been closed`)
  }

  /**
   * Runs `work` in a transaction and commits it. When it conflicts with another one, it is aborted and `work` runs again on fresh
   * objects; any other error aborts and is thrown as it is. The objects are to be used inside `work` only. Work may commit or abort by itself;
   * what it changes after that belongs to a transaction that it has to commit as well (CONNECTION_DIRTY).
   *
   * @returns what `work` returned, once the transaction is durable
   */
  async transact<T>(work: (root: Root, tx: Transaction) => T | Promise<T>, options: TransactOptions = {}): Promise<T> {
    const { user = '', note = '', attempts = 3 } = checkOptions('transact', options)
    if (!Number.isSafeInteger(attempts) || attempts < 1)
      throw unexpected('transact: attempts', 'a whole number from 1', attempts)
    checkFunction('transact', work)
    for (let attempt = 1; ; attempt++) {
      if (this.storage.reopening !== undefined) await this.storage.reopening
      const connection = this.open()
      const tx = connection.transaction
      tx.user = user
      tx.note = note
      try {
        const result = await work(connection.root, tx)
        if (!(await tx.complete()) && connection.hasChanges())
          throw new ObjectError(
            'CONNECTION_DIRTY',
            'transact: the work ended its transaction itself and changed objects afterwards, which is not stored; commit that too, or use another transact for it',
          )
        return result
      } catch (error) {
        await tx.abort()
        await connection.abandon()
        if (attempt >= attempts || !isRetryable(error)) throw error
      } finally {
        connection.release()
      }
      await delay(Math.random() * 2 ** attempt)
      // what it conflicted with may not be durable yet; until then a new attempt would not see it
      await this.storage.settled()
    }
  }

  /**
   * The files that were found damaged when the database was opened. If there are any it can only be read, and reading what cannot be
   * relied on is an error (DATABASE_CORRUPT).
   */
  get damage(): readonly string[] {
    return this.storage.damage
  }

  /**
   * Copies the database, history and blobs included, while it is in use. The copy is a database directory; `restoreDatabase` makes a
   * database of it.
   * @param directory must not exist, or be empty
   * @throws {ObjectError} INVALID_ARGUMENT, DATABASE_CORRUPT, DATABASE_FAILED
   */
  async backup(
    directory: string,
    options: { readonly progress?: (records: number) => void } = {},
  ): Promise<BackupResult> {
    this.assertOpen()
    const progress = checkProgress('backup', checkOptions('backup', options).progress)
    checkText('backup: directory', directory)
    return this.readingBlobs(backup(this.storage, directory, progress))
  }

  private async readingBlobs<T>(work: Promise<T>): Promise<T> {
    this.blobReaders.add(work)
    return work.finally(() => this.blobReaders.delete(work))
  }

  /** Reads all records and tells what is wrong; see lib/verify.ts for what is checked, and what is not. */
  async verify(options: { readonly progress?: (done: number) => void } = {}): Promise<VerifyResult> {
    this.assertOpen()
    const progress = checkProgress('verify', checkOptions('verify', options).progress)
    return this.readingBlobs(verify(this.storage, () => this.open({ readOnly: true }), progress))
  }

  /** Whether nothing can be read any more. */
  get isClosed(): boolean {
    return this.closed
  }

  /** Called by a connection that has ended. */
  released(connection: Connection<Root>): void {
    this.connections.delete(connection)
  }

  /** Has `closer` awaited before the database is closed. */
  beforeClose(closer: () => Promise<void>): void {
    this.closers.push(checkFunction('beforeClose', closer))
  }

  /** Waits for what is under way (for LevelDB's merging of tables a second at most) and closes the database. Connections still open end. */
  close(): Promise<void> {
    this.ending.abort()
    this.closing ??= (async () => {
      await this.storage.settled()
      // what was durable first finishes its transaction
      await nextTurn()
      for (const closer of this.closers.toReversed()) await closer()
      await this.storage.close()
      this.closed = true
    })()
    return this.closing
  }
}

/**
 * Opens the database in a directory, or over an abstract-level database that has synchronous reads and snapshots.
 *
 * @param location a path; or a level database that this call takes over and `close()` closes
 * @throws {ObjectError} DATABASE_LOCKED, DATABASE_FORMAT, DATABASE_CORRUPT, DATABASE_FAILED
 */
export async function openDatabase<Root extends Persistent>(
  location: string | Level,
  options: OpenOptions<Root>,
): Promise<Database<Root>> {
  const { create = true, salvage = false, untrusted = false, root } = checkOptions('openDatabase', options)
  checkFunction('openDatabase: root', root)
  checkLocation(location)
  const name = typeof location === 'string' ? resolve(location) : `(${location.constructor.name})`
  const { level, witness, again } =
    typeof location === 'string'
      ? await openDirectory(name, { create, salvage, untrusted })
      : { level: location, witness: undefined, again: undefined }
  let storage: LevelStorage | undefined
  try {
    storage = await LevelStorage.open(level, name, { create, witness, again })
    if (storage.damage.length === 0) await settleStaged(storage)
    const database = new Database<Root>(storage, options)
    if (storage.lastTid === 0) await createRoot(database, root())
    return database
  } catch (error) {
    await storage?.close()
    await level.close()
    witness?.close()
    throw error
  }
}

function checkLocation(location: string | Level): void {
  if (typeof location !== 'object' || location === null) checkText('openDatabase: location', location)
  else if (LEVEL_METHODS.some(name => typeof location[name] !== 'function'))
    throw unexpected(
      'openDatabase: location',
      'a directory, or an abstract-level database with synchronous reads and snapshots',
      location,
    )
}

const LEVEL_METHODS = ['open', 'close', 'get', 'getSync', 'batch', 'iterator', 'snapshot'] as const

function listOf(tids: Tid | readonly Tid[]): readonly Tid[] {
  const list = typeof tids === 'number' ? [tids] : tids
  if (Array.isArray(list) && list.every(tid => typeof tid === 'number')) return list
  throw unexpected('undo', 'a transaction id, or a list of some', tids)
}

async function createRoot<Root extends Persistent>(database: Database<Root>, root: Root): Promise<void> {
  const connection = database.open()
  if (connection.add(root) !== ROOT_OID)
    throw new ObjectError('DATABASE_CORRUPT', `${database.location} has objects but no transactions`)
  connection.transaction.note = 'created'
  await connection.transaction.commit()
  connection.close()
}
