/**
 * The stores that the database is compared with: LevelDB as it is, lmdb, better-sqlite3. Every write is durable (fsync) when it is done.
 *
 * lmdb and better-sqlite3 are not among the project's packages, since building one takes a minute. Where they are not found, their columns stay empty.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { Level } from 'level'

export interface Peer {
  readonly name: string
  put(key: number, value: Buffer): unknown
  /** Writes values under consecutive keys in one transaction. */
  putAll(first: number, values: readonly Buffer[]): unknown
  get(key: number): Buffer | undefined
  close(): unknown
}

export function keyOf(number: number): Buffer {
  const key = Buffer.allocUnsafe(9)
  key[0] = 0x6f
  key.writeUInt32BE(Math.floor(number / 0x1_0000_0000), 1)
  key.writeUInt32BE(number % 0x1_0000_0000, 5)
  return key
}

const BINARY = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
const SYNCED = { ...BINARY, sync: true }

export async function openLevel(directory: string): Promise<Peer> {
  const level = new Level<Buffer, Buffer>(directory, BINARY)
  await level.open()
  return {
    name: 'level',
    put: (key, value) => level.put(keyOf(key), value, SYNCED),
    putAll(first, values) {
      const batch = level.batch()
      for (let i = 0; i < values.length; i++) batch.put(keyOf(first + i), values[i]!)
      return batch.write(SYNCED)
    },
    get: key => level.getSync(keyOf(key)),
    close: () => level.close(),
  }
}

interface Lmdb {
  open(options: object): {
    put(key: Buffer, value: Buffer): Promise<boolean>
    get(key: Buffer): Buffer | undefined
    transaction(work: () => void): Promise<void>
    close(): Promise<void>
  }
}

function openLmdb(directory: string, { open }: Lmdb): Peer {
  // overlapping syncs would resolve before the disk has it
  const db = open({ path: directory, encoding: 'binary', keyEncoding: 'binary', overlappingSync: false })
  return {
    name: 'lmdb',
    put: (key, value) => db.put(keyOf(key), value),
    putAll: (first, values) =>
      db.transaction(() => {
        for (let i = 0; i < values.length; i++) void db.put(keyOf(first + i), values[i]!)
      }),
    get: key => db.get(keyOf(key)),
    close: () => db.close(),
  }
}

type Sqlite = new (
  file: string,
) => {
  pragma(text: string): void
  exec(text: string): void
  prepare(text: string): { run(...values: unknown[]): void; get(key: number): { value: Buffer } | undefined }
  close(): void
}

function openSqlite(directory: string, Database: Sqlite): Peer {
  const db = new Database(join(directory, 'bench.sqlite'))
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  db.exec('CREATE TABLE records (key INTEGER PRIMARY KEY, value BLOB)')
  const insert = db.prepare('INSERT OR REPLACE INTO records VALUES (?, ?)')
  const select = db.prepare('SELECT value FROM records WHERE key = ?')
  return {
    name: 'sqlite',
    put: (key, value) => insert.run(key, value),
    putAll(first, values) {
      db.exec('BEGIN')
      for (let i = 0; i < values.length; i++) insert.run(first + i, values[i]!)
      db.exec('COMMIT')
    },
    get: key => select.get(key)?.value,
    close: () => db.close(),
  }
}

export interface Peers {
  /** Opens all that are there, each in a new directory. */
  open(newDirectory: () => string): Promise<Peer[]>
  /** The packages that are not. */
  readonly absent: readonly string[]
}

/** @param directory the one in whose node_modules the packages are looked for */
export function findPeers(directory: string): Peers {
  const require = createRequire(join(directory, 'package.json'))
  const absent: string[] = []
  function find<T>(name: string): T | undefined {
    try {
      return require(name) as T
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
      absent.push(name)
      return undefined
    }
  }
  const lmdb = find<Lmdb>('lmdb')
  const sqlite = find<Sqlite>('better-sqlite3')
  return {
    absent,
    open: async newDirectory => [
      await openLevel(newDirectory()),
      ...(lmdb === undefined ? [] : [openLmdb(newDirectory(), lmdb)]),
      ...(sqlite === undefined ? [] : [openSqlite(newDirectory(), sqlite)]),
    ],
  }
}
