/**
 * The storage over LevelDB (any abstract-level database with synchronous reads and snapshots).
 *
 * One write is in flight at a time. Transactions that are accepted meanwhile wait and go into the next batch together: one synced
 * batch, one fsync, in the order of their tids. So the database on disk is always a prefix of the accepted transactions.
 *
 * Snapshots are shared: there is one per state of the database, taken when a batch has been written and before the next one
 * starts, and let go when the last reader has released it.
 */
import { randomBytes } from 'node:crypto'
import type { AbstractBatchOperation, AbstractLevel, AbstractSnapshot } from 'abstract-level'
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import { decodeRecord, encodeRecord, type RecordBody, type StoredRecord } from '../record.ts'
import { FORMAT_KEY, objectKey, outboxKey, range, transactionKey } from './keys.ts'
import type { Change, Commit, CommitEvent, Committed, Storage, StorageSnapshot } from './storage.ts'
import { decodeTransaction, encodeTransaction } from './transaction-record.ts'

export type Level = AbstractLevel<string | Buffer | Uint8Array, Buffer, Buffer>
type Operation = AbstractBatchOperation<Level, Buffer, Buffer>

const FORMAT = 1
const BINARY = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
const SYNCED: typeof BINARY = Object.assign({ sync: true }, BINARY)

interface Accepted {
  readonly event: CommitEvent
  readonly operations: Operation[]
  readonly result: Committed
  resolve(result: Committed): void
  reject(error: unknown): void
}

/** One state of the database, with the number of readers that hold it. */
class SharedSnapshot {
  readonly tid: Tid
  readers = 0
  private readonly level: Level
  private readonly snapshot: AbstractSnapshot
  private readonly options: { keyEncoding: 'buffer'; valueEncoding: 'buffer'; snapshot: AbstractSnapshot }

  constructor(level: Level, tid: Tid) {
    this.level = level
    this.tid = tid
    this.snapshot = level.snapshot()
    this.options = { ...BINARY, snapshot: this.snapshot }
  }

  load(oid: Oid): StoredRecord | undefined {
    const bytes = this.level.getSync(objectKey(oid), this.options)
    return bytes === undefined ? undefined : decodeRecord(oid, bytes)
  }

  close(): void {
    void this.snapshot.close()
  }
}

export class LevelStorage implements Storage {
  readonly location: string
  readonly id: string
  private readonly level: Level
  private readonly listeners = new Set<(event: CommitEvent) => void>()
  private current: SharedSnapshot
  private lastAccepted: Tid
  private nextOid: Oid
  private waiting: Accepted[] = []
  /** What accepted transactions that are not yet durable have written. */
  private readonly unwritten = new Map<Oid, StoredRecord>()
  private writing: Promise<void> | undefined
  private closed = false

  private constructor(level: Level, location: string, id: string, last: { tid: Tid; nextOid: Oid }) {
    this.level = level
    this.location = location
    this.id = id
    this.lastAccepted = last.tid
    this.nextOid = last.nextOid
    this.current = new SharedSnapshot(level, last.tid)
  }

  /**
   * @param level an open database
   * @param create whether an empty one may become an object database
   * @throws {ObjectError} DATABASE_FORMAT, DATABASE_CORRUPT
   */
  static async open(level: Level, location: string, { create }: { create: boolean }): Promise<LevelStorage> {
    const id = await databaseId(level, location, create)
    const [last] = await level.iterator({ ...BINARY, ...range(Buffer.from('t')), reverse: true, limit: 1 }).all()
    const state = last === undefined ? { tid: 0, nextOid: 1 } : decodeTransaction(last[0], last[1])
    return new LevelStorage(level, location, id, state)
  }

  get lastTid(): Tid {
    return this.current.tid
  }

  snapshot(): StorageSnapshot {
    this.assertOpen()
    const shared = this.current
    shared.readers += 1
    return {
      tid: shared.tid,
      load: oid => {
        this.assertOpen()
        return shared.load(oid)
      },
      release: () => {
        shared.readers -= 1
        if (shared.readers === 0 && shared !== this.current && !this.closed) shared.close()
      },
    }
  }

  newOid(): Oid {
    return this.nextOid++
  }

  onCommit(listener: (event: CommitEvent) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  commit(commit: Commit): Promise<Committed> {
    this.assertOpen()
    const { records, merged } = this.decide(commit)
    const tid = Math.max(Date.now() * 1000, this.lastAccepted + 1)
    const operations: Operation[] = []
    for (const [oid, record] of records) {
      const stored = { ...record, serial: tid }
      operations.push({ type: 'put', key: objectKey(oid), value: encodeRecord(oid, stored) })
      this.unwritten.set(oid, stored)
    }
    for (const [key, value] of commit.outbox)
      operations.push({ type: 'put', key: outboxKey(key), value: asBuffer(value) })
    const event: CommitEvent = { tid, user: commit.user, note: commit.note, oids: [...records.keys()] }
    operations.push({
      type: 'put',
      key: transactionKey(tid),
      value: encodeTransaction(event, this.lastAccepted, this.nextOid),
    })
    this.lastAccepted = tid
    const { promise, resolve, reject } = withResolvers<Committed>()
    this.waiting.push({ event, operations, result: { tid, merged }, resolve, reject })
    this.writing ??= this.write()
    return promise
  }

  async *outboxRows(prefix: string): AsyncGenerator<[string, Uint8Array]> {
    this.assertOpen()
    for await (const [key, value] of this.level.iterator({ ...BINARY, ...range(outboxKey(prefix)) }))
      yield [key.toString('utf8', 1), value]
  }

  async writeOutbox(
    rows: Iterable<readonly [string, Uint8Array | undefined]>,
    { sync }: { sync: boolean },
  ): Promise<void> {
    this.assertOpen()
    const operations = Array.from(
      rows,
      ([key, value]): Operation =>
        value === undefined
          ? { type: 'del', key: outboxKey(key) }
          : { type: 'put', key: outboxKey(key), value: asBuffer(value) },
    )
    await this.level.batch(operations, sync ? SYNCED : BINARY).catch(error => {
      throw this.failed(error)
    })
  }

  async settled(): Promise<void> {
    while (this.writing !== undefined) await this.writing
  }

  async close(): Promise<void> {
    if (this.closed) return
    await this.settled()
    this.closed = true
    await this.level.close()
  }

  /** The records that `commit` will write; throws CONFLICT. */
  private decide(commit: Commit): { records: Map<Oid, RecordBody>; merged: Set<Oid> } {
    const records = new Map<Oid, RecordBody>()
    const merged = new Set<Oid>()
    for (const change of commit.changes) {
      const committed =
        change.serial === 0 ? undefined : (this.unwritten.get(change.oid) ?? this.current.load(change.oid))
      if (committed === undefined || committed.serial === change.serial) {
        records.set(change.oid, change.record)
        continue
      }
      const record = commit.merge(change, committed)
      if (record === undefined) throw conflict(change, committed)
      records.set(change.oid, record)
      merged.add(change.oid)
    }
    return { records, merged }
  }

  /** Writes what waits, batch after batch, until nothing does. */
  private async write(): Promise<void> {
    while (this.waiting.length > 0) {
      const group = this.waiting
      this.waiting = []
      let failure: unknown
      await this.level
        .batch(
          group.flatMap(each => each.operations),
          SYNCED,
        )
        .catch(error => {
          failure = this.failed(error)
        })
      if (failure !== undefined) {
        this.rejectAll([...group, ...this.waiting], failure)
        continue
      }
      this.advance(group)
      for (const each of group) each.resolve(each.result)
    }
    this.writing = undefined
  }

  /** What was accepted after a write that failed may rest on it, so it fails too. */
  private rejectAll(accepted: Accepted[], failure: unknown): void {
    this.waiting = []
    this.unwritten.clear()
    for (const each of accepted) each.reject(failure)
  }

  /** Makes a written group the current state of the database. */
  private advance(group: Accepted[]): void {
    for (const { event } of group)
      for (const oid of event.oids) if (this.unwritten.get(oid)?.serial === event.tid) this.unwritten.delete(oid)
    const before = this.current
    this.current = new SharedSnapshot(this.level, group.at(-1)!.event.tid)
    if (before.readers === 0) before.close()
    for (const { event } of group) for (const listener of this.listeners) listener(event)
  }

  private failed(cause: unknown): ObjectError {
    const why = cause instanceof Error ? ((cause.cause as Error | undefined)?.message ?? cause.message) : String(cause)
    return new ObjectError(
      'DATABASE_FAILED',
      `the database ${this.location} could not be written: ${why}; the transaction failed. Mend the cause (free space, permissions), then open the database again`,
      {
        cause,
      },
    )
  }

  private assertOpen(): void {
    if (this.closed) throw new ObjectError('DATABASE_CLOSED', `the database ${this.location} has been closed`)
  }
}

async function databaseId(level: Level, location: string, create: boolean): Promise<string> {
  const meta = await level.get(FORMAT_KEY, BINARY)
  if (meta === undefined) {
    const [any] = await level.keys({ ...BINARY, limit: 1 }).all()
    if (any !== undefined)
      throw new ObjectError('DATABASE_FORMAT', `${location} is a LevelDB of something else; choose another directory`)
    if (!create) throw new ObjectError('DATABASE_FORMAT', `${location} holds no object database`)
    const id = randomBytes(8).toString('hex')
    const value = Buffer.from(JSON.stringify({ format: FORMAT, id, created: new Date().toISOString() }))
    await level.put(FORMAT_KEY, value, SYNCED)
    return id
  }
  try {
    const { format, id } = JSON.parse(meta.toString()) as { format: unknown; id: unknown }
    if (format === FORMAT && typeof id === 'string' && /^[0-9a-f]{16}$/.test(id)) return id
  } catch {
    // falls through to the refusal
  }
  throw new ObjectError(
    'DATABASE_FORMAT',
    `${location} has a format that this version (format ${FORMAT}) does not know: ${meta.toString('utf8', 0, 100)}`,
  )
}

function conflict({ oid, serial, record }: Change, committed: StoredRecord): ObjectError {
  return new ObjectError(
    'CONFLICT',
    `${record.className} (object ${oid}) was changed by another transaction: this one read revision ${serial}, the current one is ${committed.serial}; run the transaction again`,
  )
}

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
