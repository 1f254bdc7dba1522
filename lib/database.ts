/**
 * The database: opening, connections, transactions that run again on conflict.
 */
import { resolve } from 'node:path'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import { Connection, type ConnectionOptions, ROOT_OID } from './connection.ts'
import { isConflict, ObjectError } from './errors.ts'
import type { Persistent } from './persistent.ts'
import { openDirectory } from './storage/directory.ts'
import { type Level, LevelStorage } from './storage/level-storage.ts'
import type { Storage } from './storage/storage.ts'
import type { Transaction } from './transaction.ts'

export interface OpenOptions<Root extends Persistent> {
  /** Makes the root object of a new database. */
  readonly root: () => Root
  /** Whether a database may be created where there is none. Default true. */
  readonly create?: boolean
}

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

export class Database<Root extends Persistent = Persistent> {
  /** The directory, or what stands for it. */
  readonly location: string
  /** Random name given to the database when it was created: 16 hexadecimal digits. */
  readonly id: string
  readonly outbox: Outbox
  private readonly storage: Storage
  private readonly closers: (() => Promise<void>)[] = []
  private closing: Promise<void> | undefined

  constructor(storage: Storage) {
    this.storage = storage
    this.outbox = storage
    this.location = storage.location
    this.id = storage.id
  }

  /** Opens a view of the database with its own objects, to be closed by the caller. @throws {ObjectError} DATABASE_CLOSED */
  open(options: ConnectionOptions = {}): Connection<Root> {
    if (this.closing !== undefined)
      throw new ObjectError('DATABASE_CLOSED', `the database ${this.location} has been closed`)
    return new Connection<Root>(this.storage, options, this)
  }

  /**
   * Runs `work` in a transaction and commits it. When it conflicts with another one, it is aborted and `work` runs again on fresh
   * objects; any other error aborts and is thrown as it is. The objects are to be used inside `work` only.
   *
   * @returns what `work` returned, once the transaction is durable
   */
  async transact<T>(work: (root: Root, tx: Transaction) => T | Promise<T>, options: TransactOptions = {}): Promise<T> {
    const { user = '', note = '', attempts = 3 } = options
    if (!Number.isSafeInteger(attempts) || attempts < 1)
      throw new ObjectError('INVALID_ARGUMENT', `attempts must be a whole number from 1, found ${attempts}`)
    for (let attempt = 1; ; attempt++) {
      const connection = this.open()
      const tx = connection.transaction
      tx.user = user
      tx.note = note
      try {
        const result = await work(connection.root, tx)
        if (tx.status !== 'committed' && tx.status !== 'aborted') await tx.commit()
        return result
      } catch (error) {
        await tx.abort()
        if (attempt >= attempts || !isConflict(error)) throw error
      } finally {
        connection.release()
      }
      await delay(Math.random() * 2 ** attempt)
    }
  }

  /** Has `closer` awaited before the database is closed. */
  beforeClose(closer: () => Promise<void>): void {
    this.closers.push(closer)
  }

  /** Waits for what is under way and closes the database. Connections still open end. */
  close(): Promise<void> {
    this.closing ??= (async () => {
      await this.storage.settled()
      // what was durable first finishes its transaction
      await nextTurn()
      for (const closer of this.closers.toReversed()) await closer()
      await this.storage.close()
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
  const { create = true } = options
  const name = typeof location === 'string' ? resolve(location) : `(${location.constructor.name})`
  const level = typeof location === 'string' ? await openDirectory(name, create) : location
  try {
    await level.open()
    const storage = await LevelStorage.open(level, name, { create })
    const database = new Database<Root>(storage)
    if (storage.lastTid === 0) await createRoot(database, options.root())
    return database
  } catch (error) {
    await level.close()
    throw error
  }
}

async function createRoot<Root extends Persistent>(database: Database<Root>, root: Root): Promise<void> {
  const connection = database.open()
  if (connection.add(root) !== ROOT_OID)
    throw new ObjectError('DATABASE_CORRUPT', `${database.location} has objects but no transactions`)
  connection.transaction.note = 'created'
  await connection.transaction.commit()
  connection.close()
}
