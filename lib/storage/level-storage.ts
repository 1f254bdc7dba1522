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
import { messageOf, ObjectError } from '../errors.ts'
import { OidSet } from '../oid-set.ts'
import { type Oid, ROOT_OID, type Tid } from '../persistent.ts'
import {
  decodeRecord,
  isGone,
  type RecordBody,
  readUInt64,
  type WholeRecord,
  wholeRecord,
  writeUInt64,
} from '../record.ts'
import { type BlobStore, directoryBlobs, memoryBlobs } from './blob-store.ts'
import {
  FORMAT_KEY,
  objectKey,
  oidOf,
  outboxKey,
  PACKED_KEY,
  range,
  revisionKey,
  tidOf,
  transactionKey,
} from './keys.ts'
import { BINARY, entriesIn, type Level, type Operation, SYNCED, unreadable, writeBatch } from './level.ts'
import { SharedSnapshot } from './level-snapshot.ts'
import { decodeRow, encodeRow } from './outbox-row.ts'
import { compact, type PackHost, pack, type Removal } from './pack.ts'
import type {
  Change,
  Commit,
  Committed,
  PackOptions,
  PackResult,
  RecordEntry,
  Storage,
  StorageSnapshot,
  TransactionEntry,
  TransactionRange,
} from './storage.ts'
import { type Packed, Suspicion } from './suspicion.ts'
import { decodeTransaction, encodeTransaction, type StoredTransaction } from './transaction-record.ts'
import type { Witness } from './witness.ts'

const FORMAT = 1

/** An object's new revision, and the one that it follows. */
interface Write {
  readonly oid: Oid
  readonly record: RecordBody
  readonly before: WholeRecord | undefined
}

/** A write that waits for its turn: of a transaction, or of a pack that removes objects. */
interface Accepted {
  readonly entry: TransactionEntry | undefined
  readonly operations: readonly Operation[]
  resolve(): void
  reject(error: unknown): void
}

export class LevelStorage implements Storage {
  readonly location: string
  readonly id: string
  private readonly level: Level
  private readonly listeners = new Set<(entry: TransactionEntry) => void>()
  private current: SharedSnapshot
  private lastAccepted: Tid
  private nextOid: Oid
  private waiting: Accepted[] = []
  /** What accepted transactions that are not yet durable have written. */
  private readonly unwritten = new Map<Oid, WholeRecord>()
  /** Objects that were removed or taken back since the database was opened: no transaction may refer to them. */
  private readonly removed = new OidSet()
  /** While a pack is under way: the objects that transactions accepted meanwhile refer to. */
  private referred: Set<Oid> | undefined
  private packedTo: Tid
  readonly blobs: BlobStore
  private readonly witness: Witness | undefined
  private readonly suspicion: Suspicion | undefined
  private writing: Promise<void> | undefined
  /** While there is one, new transactions wait for it. */
  private gate: Promise<void> | undefined
  private closed = false

  private constructor(level: Level, location: string, id: string, found: Found) {
    const { last, packed, witness, suspicion } = found
    this.level = level
    this.location = location
    this.id = id
    this.lastAccepted = last.tid
    this.nextOid = last.nextOid
    this.packedTo = packed.tid
    this.witness = witness
    this.blobs = witness === undefined ? memoryBlobs() : directoryBlobs(location)
    this.suspicion = suspicion
    this.current = new SharedSnapshot(level, last.tid, suspicion)
  }

  /**
   * @param level an open database
   * @param create whether an empty one may become an object database
   * @param witness of the directory, if it is one
   * @throws {ObjectError} DATABASE_FORMAT, DATABASE_CORRUPT
   */
  static async open(
    level: Level,
    location: string,
    { create, witness }: { create: boolean; witness?: Witness | undefined },
  ): Promise<LevelStorage> {
    const id = await databaseId(level, location, create)
    const [row] = await level
      .iterator({ ...BINARY, ...range(Buffer.from('t')), reverse: true, limit: 1 })
      .all()
      .catch(failedRead)
    const last = row === undefined ? { tid: 0, nextOid: 1 } : decodeTransaction(row[0], row[1])
    const packed = decodePacked(await level.get(PACKED_KEY, BINARY).catch(failedRead))
    if (witness !== undefined && witness.tid > last.tid) throw lost(location, witness.tid, last.tid)
    const suspicion = witness?.damaged.length ? await Suspicion.of(level, location, packed) : undefined
    const storage = new LevelStorage(level, location, id, { last, packed, witness, suspicion })
    // what is refused leaves the witness as it is, so that it is refused the next time too
    if (suspicion === undefined && witness !== undefined) await storage.assertWhole(witness.checkpoint)
    witness?.begin(last.tid)
    if (suspicion === undefined && witness !== undefined) {
      witness.moved = () => void witness.watch()
      setTimeout(witness.moved, 500).unref()
    }
    return storage
  }

  get damage(): readonly string[] {
    return this.witness?.damaged ?? []
  }

  get packed(): Tid {
    return this.packedTo
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
      revisions: oid => {
        this.assertOpen()
        return shared.revisions(oid)
      },
      release: () => this.release(shared),
    }
  }

  newOid(): Oid {
    return this.nextOid++
  }

  onCommit(listener: (entry: TransactionEntry) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  async commit(commit: Commit): Promise<Committed> {
    while (this.gate !== undefined) await this.gate
    return this.accept(commit)
  }

  async commitAtRest(plan: () => Promise<Commit>): Promise<Committed> {
    while (this.gate !== undefined) await this.gate
    let opened = () => {}
    this.gate = new Promise(resolve => {
      opened = resolve
    })
    let accepted: Promise<Committed>
    try {
      await this.drained()
      const commit = await plan()
      accepted = this.accept(commit)
    } finally {
      this.gate = undefined
      opened()
    }
    return await accepted
  }

  /** Decides, and has what was decided written. */
  private async accept(commit: Commit): Promise<Committed> {
    this.assertWritable()
    const { writes, merged } = this.decide(commit)
    const tid = Math.max(Date.now() * 1000, this.lastAccepted + 1)
    const classes = new Set<string>()
    for (const { record } of writes) if (!isGone(record)) classes.add(record.className)
    const entry: StoredTransaction = {
      tid,
      previous: this.lastAccepted,
      nextOid: this.nextOid,
      user: commit.user,
      note: commit.note,
      extension: commit.extension,
      oids: writes.map(({ oid }) => oid),
      classes: [...classes].sort(),
    }
    // the last that may refuse the transaction; from here on it is accepted
    const operations: Operation[] = [[transactionKey(tid), encodeTransaction(entry)]]
    for (const [key, value] of commit.outbox) operations.push(outboxOperation(key, value))
    for (const { oid, record, before } of writes) {
      const stored = wholeRecord(oid, record, tid, before?.serial ?? 0)
      if (before !== undefined) operations.push([revisionKey(oid, before.serial), before.bytes])
      operations.push([objectKey(oid), stored.bytes])
      this.unwritten.set(oid, stored)
      if (isGone(record)) this.removed.add(oid)
      else this.removed.delete(oid)
    }
    this.lastAccepted = tid
    for (const { references } of commit.changes) for (const oid of references) this.referred?.add(oid)
    await this.enqueue(operations, entry)
    return { tid, merged }
  }

  async *records(): AsyncGenerator<RecordEntry> {
    this.assertOpen()
    const shared = this.current
    shared.readers += 1
    try {
      for (const kind of ['o', 'r'])
        for await (const [key, value] of entriesIn(this.level, { ...shared.reading, ...range(Buffer.from(kind)) }))
          yield recordEntry(key, value)
    } finally {
      this.release(shared)
    }
  }

  async transaction(tid: Tid): Promise<TransactionEntry | undefined> {
    this.assertOpen()
    const key = transactionKey(tid)
    const value = await this.level.get(key, BINARY).catch(failedRead)
    return value && decodeTransaction(key, value)
  }

  async *transactions({ after = 0, upTo, reverse = false }: TransactionRange = {}): AsyncGenerator<TransactionEntry> {
    this.assertOpen()
    const newest = this.lastTid
    const bounds = { gte: transactionKey(after + 1), lte: transactionKey(upTo ?? newest) }
    // the transaction that has to come next; undefined where any may
    let due = reverse && (upTo ?? newest) >= newest && newest > after ? newest : undefined
    let last: StoredTransaction | undefined
    for await (const [key, value] of entriesIn(this.level, { ...BINARY, ...bounds, reverse })) {
      const entry = decodeTransaction(key, value)
      if (reverse) this.assertNext(due, entry.tid)
      else this.assertNext(last === undefined && entry.previous <= after ? undefined : entry.previous, last?.tid)
      due = entry.previous > after ? entry.previous : undefined
      last = entry
      yield entry
    }
    if (reverse) this.assertNext(due, undefined)
    else if ((upTo ?? newest) >= newest && newest > after) this.assertNext(newest, last?.tid)
  }

  async copyTo(
    level: Level,
    progress: ((records: number) => void) | undefined,
  ): Promise<{ tid: Tid; records: number }> {
    this.assertOpen()
    const shared = this.current
    shared.readers += 1
    let records = 0
    let operations: Operation[] = []
    const flush = async (least: number) => {
      if (operations.length < least) return
      await writeBatch(level, operations, { sync: least === 0 })
      operations = []
      progress?.(records)
    }
    try {
      await databaseId(level, 'the copy', true)
      const packed = await this.level.get(PACKED_KEY, shared.reading).catch(failedRead)
      if (packed !== undefined) operations.push([PACKED_KEY, packed])
      for (const kind of ['o', 'r', 't'])
        for await (const [key, value] of entriesIn(this.level, { ...shared.reading, ...range(Buffer.from(kind)) })) {
          if (kind === 't') decodeTransaction(key, value)
          else {
            const { record, damage } = recordEntry(key, value)
            if (record === undefined) throw new ObjectError('DATABASE_CORRUPT', damage)
            records += 1
          }
          operations.push([key, value])
          await flush(1000)
        }
      await flush(0)
    } catch (error) {
      throw error instanceof ObjectError ? error : this.failed(error)
    } finally {
      this.release(shared)
    }
    return { tid: shared.tid, records }
  }

  async pack({ before, ...options }: PackOptions & { readonly before: Tid }): Promise<PackResult> {
    this.assertWritable()
    if (this.referred !== undefined)
      throw new ObjectError('PACK_RUNNING', `${this.location} is being packed already; wait until that has ended`)
    const referred = new Set<Oid>()
    this.referred = referred
    // what was accepted before is in the snapshot; what comes from now on tells what it refers to
    await this.settled()
    const snapshot = this.current
    snapshot.readers += 1
    try {
      this.packedTo = Math.max(this.packedTo, Math.min(before, snapshot.tid))
      await this.writePacked(undefined)
      const host: PackHost = {
        level: this.level,
        location: this.location,
        snapshot,
        root: ROOT_OID,
        referred,
        transactions: after => this.transactions({ after, upTo: snapshot.tid }),
        remove: removals => this.remove(removals),
      }
      const { left, ...result } = await pack(host, this.packedTo, options)
      await this.writePacked(left)
      return result
    } catch (error) {
      throw error instanceof ObjectError ? error : this.failed(error)
    } finally {
      this.referred = undefined
      this.release(snapshot)
      // a new state, in which what was swept no longer is
      await this.enqueue([], undefined)
      options.progress?.({ phase: 'compact', done: 0 })
      if (!this.closed) await compact(this.level)
    }
  }

  private writePacked(left: number | undefined): Promise<void> {
    return writeBatch(this.level, [[PACKED_KEY, encodePacked({ tid: this.packedTo, left })]], { sync: true })
  }

  private async remove(removals: readonly Removal[]): Promise<number> {
    const certain = removals.filter(({ oid, serial }) => this.latest(oid)?.serial === serial)
    for (const { oid } of certain) this.removed.add(oid)
    if (certain.length > 0)
      await this.enqueue(
        certain.flatMap(({ operations }) => operations),
        undefined,
      )
    return certain.length
  }

  private release(shared: SharedSnapshot): void {
    shared.readers -= 1
    if (shared.readers === 0 && shared !== this.current && !this.closed) shared.close()
  }

  async *outboxRows(prefix: string): AsyncGenerator<[string, Uint8Array | undefined]> {
    this.assertOpen()
    for await (const [key, value] of entriesIn(this.level, { ...BINARY, ...range(outboxKey(prefix)) }))
      yield [key.toString('utf8', 1), decodeRow(key, value)]
  }

  async writeOutbox(
    rows: Iterable<readonly [string, Uint8Array | undefined]>,
    { sync }: { sync: boolean },
  ): Promise<void> {
    this.assertWritable()
    const operations = Array.from(rows, ([key, value]) => outboxOperation(key, value))
    await writeBatch(this.level, operations, { sync }).catch(error => {
      throw this.failed(error)
    })
  }

  async settled(): Promise<void> {
    if (this.writing !== undefined) await this.enqueue([], undefined).catch(() => undefined)
  }

  /** Waits until nothing is being written. It may never be so, unless new transactions are held back. */
  private async drained(): Promise<void> {
    while (this.writing !== undefined) await this.writing
  }

  async close(): Promise<void> {
    if (this.closed) return
    await this.drained()
    this.closed = true
    await this.level.close()
    this.witness?.close()
  }

  /** What `commit` will write, each with the revision that it follows; throws what refuses the transaction. */
  private decide({ changes, reads, merge }: Commit): { writes: Write[]; merged: Set<Oid> } {
    for (const [oid, serial] of reads) {
      const latest = this.latest(oid)
      if (latest === undefined || latest.serial !== serial) throw readConflict(oid, serial, latest)
    }
    const writes: Write[] = []
    const merged = new Set<Oid>()
    for (const change of changes) {
      const { oid, serial, record, references } = change
      for (const other of references)
        if (this.removed.has(other) && !changes.some(each => each.oid === other)) throw dangling(change, other)
      const before = serial === 0 ? undefined : this.latest(oid)
      if (before?.serial === serial || serial === 0) {
        writes.push({ oid, record, before })
        continue
      }
      if (before === undefined || isGone(before)) throw conflict(change, before)
      const result = merge(change, before)
      if (result === undefined) throw conflict(change, before)
      writes.push({ oid, record: result, before })
      merged.add(oid)
    }
    return { writes, merged }
  }

  /** The current revision, durable or accepted. */
  private latest(oid: Oid): WholeRecord | undefined {
    return this.unwritten.get(oid) ?? this.current.latest(oid)
  }

  private enqueue(operations: readonly Operation[], entry: TransactionEntry | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ entry, operations, resolve, reject })
      this.writing ??= this.write()
    })
  }

  /** Writes what waits, batch after batch, until nothing does. */
  private async write(): Promise<void> {
    while (this.waiting.length > 0) {
      const group = this.waiting
      this.waiting = []
      let failure: unknown
      const operations = group.length === 1 ? group[0]!.operations : group.flatMap(each => each.operations)
      const written = operations.length === 0 ? Promise.resolve() : writeBatch(this.level, operations, { sync: true })
      await written.catch(error => {
        failure = this.failed(error)
      })
      if (failure !== undefined) {
        this.rejectAll([...group, ...this.waiting], failure)
        continue
      }
      this.advance(group)
      for (const each of group) each.resolve()
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
    const entries = group.flatMap(({ entry }) => entry ?? [])
    for (const { tid, oids } of entries)
      for (const oid of oids) if (this.unwritten.get(oid)?.serial === tid) this.unwritten.delete(oid)
    const before = this.current
    this.current = new SharedSnapshot(this.level, entries.at(-1)?.tid ?? before.tid, this.suspicion)
    if (entries.length > 0) this.witness?.committed(this.current.tid, sizeOf(group))
    if (before.readers === 0) before.close()
    for (const entry of entries) for (const listener of this.listeners) listener(entry)
  }

  /** @throws {ObjectError} DATABASE_CORRUPT if a transaction since `checkpoint` is missing */
  private async assertWhole(checkpoint: Tid): Promise<void> {
    let first: Tid | undefined
    for await (const { tid } of this.transactions({ after: checkpoint - 1 })) first ??= tid
    if (checkpoint > this.packedTo && first !== checkpoint)
      throw new ObjectError(
        'DATABASE_CORRUPT',
        `transaction ${checkpoint} is missing in ${this.location}; restore the database from a backup`,
      )
  }

  /** @throws {ObjectError} DATABASE_CORRUPT if another transaction than the one that is due was found, and it was not packed away */
  private assertNext(due: Tid | undefined, found: Tid | undefined): void {
    if (due === undefined || due === found || due <= this.packedTo) return
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `transaction ${due} is missing in ${this.location}, though others tell of it; restore the database from a backup`,
    )
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

  private assertWritable(): void {
    this.assertOpen()
    if (this.suspicion !== undefined)
      throw new ObjectError(
        'DATABASE_CORRUPT',
        `${this.location} is damaged (${this.damage.join(', ')}) and can only be read; restore it from a backup`,
      )
  }

  private assertOpen(): void {
    if (this.suspicion === undefined && this.witness !== undefined && this.witness.damaged.length > 0)
      throw damagedTable(this.location, this.damage)
    if (this.closed) throw new ObjectError('DATABASE_CLOSED', `the database ${this.location} has been closed`)
  }
}

function recordEntry(key: Buffer, value: Buffer): RecordEntry {
  const oid = oidOf(key)
  const current = key[0] === 0x6f
  try {
    const record = decodeRecord(oid, value)
    if (current || record.serial === tidOf(key)) return { oid, current, record, damage: '' }
    return {
      oid,
      current,
      record: undefined,
      damage: `object ${oid} has revision ${record.serial} in the place of ${tidOf(key)}`,
    }
  } catch (error) {
    return { oid, current, record: undefined, damage: messageOf(error) }
  }
}

/** What was found when the database was opened. */
interface Found {
  readonly last: { readonly tid: Tid; readonly nextOid: Oid }
  readonly packed: Packed
  readonly witness: Witness | undefined
  readonly suspicion: Suspicion | undefined
}

/** The last tid packed (8 bytes), and one more than the number of transactions left up to it; 0 if that is not known. */
function encodePacked({ tid, left }: Packed): Buffer {
  const bytes = Buffer.alloc(16)
  writeUInt64(bytes, tid, 0)
  writeUInt64(bytes, left === undefined ? 0 : left + 1, 8)
  return bytes
}

function decodePacked(bytes: Buffer | undefined): Packed {
  if (bytes === undefined || bytes.length !== 16) return { tid: 0, left: undefined }
  const left = readUInt64(bytes, 8)
  return { tid: readUInt64(bytes, 0), left: left === 0 ? undefined : left - 1 }
}

const sizeOf = (group: readonly Accepted[]): number =>
  group.reduce(
    (sum, { operations }) => sum + operations.reduce((all, [key, value]) => all + key.length + (value?.length ?? 0), 0),
    0,
  )

/** What can be done about a damaged database. */
export const RECOVERY =
  'Restore it from a backup; or, on a copy of the directory, read what is left with the option salvage'

/** What is read from a damaged table may be wrong or outdated. */
export function damagedTable(location: string, files: readonly string[]): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the database ${location} is damaged: ${files.join(', ')} ${files.length === 1 ? 'is' : 'are'} not as written. ${RECOVERY}`,
  )
}

function lost(location: string, expected: Tid, found: Tid): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `committed transactions are missing in ${location}: the last one was ${expected}, the last one that can be read is ${found}. Its log is damaged: restore it from a backup; or, to go on with what is left, remove the file COMMITTED in it`,
  )
}

async function databaseId(level: Level, location: string, create: boolean): Promise<string> {
  const meta = await level.get(FORMAT_KEY, BINARY).catch(failedRead)
  if (meta === undefined) {
    const [any] = await level
      .keys({ ...BINARY, limit: 1 })
      .all()
      .catch(failedRead)
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

function conflict({ oid, serial, record }: Change, committed: WholeRecord | undefined): ObjectError {
  const now =
    committed === undefined || isGone(committed) ? 'it has been removed' : `the current one is ${committed.serial}`
  return new ObjectError(
    'CONFLICT',
    `${record.className} (object ${oid}) was changed by another transaction: this one read revision ${serial}, ${now}; run the transaction again`,
  )
}

function readConflict(oid: Oid, serial: Tid, latest: WholeRecord | undefined): ObjectError {
  const now = latest === undefined ? 'it has been removed' : `the current one is ${latest.serial}`
  return new ObjectError(
    'READ_CONFLICT',
    `object ${oid}, which this transaction relied on at revision ${serial}, was changed by another one: ${now}; run the transaction again`,
  )
}

function dangling({ oid, record }: Change, other: Oid): ObjectError {
  return new ObjectError(
    'DANGLING_REFERENCE',
    `${record.className} (object ${oid}) refers to object ${other}, which has been removed from the database meanwhile; get what it should refer to anew`,
  )
}

function failedRead(error: unknown): never {
  throw unreadable(error)
}

function outboxOperation(key: string, value: Uint8Array | undefined): Operation {
  const bytes = outboxKey(key)
  return [bytes, value && encodeRow(bytes, value)]
}
