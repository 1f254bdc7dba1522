/**
 * The storage over LevelDB (any abstract-level database with synchronous reads and snapshots).
 *
 *     commit ── decision.ts ──▶ accepted: it has its tid, and later transactions see it
 *                                 │ group-commit.ts
 *                                 ▼
 *                               durable: one synced batch ──▶ level-snapshot.ts: the newest state
 *
 * Snapshots are shared: there is one per state of the database, which each batch that has been written makes a new one.
 */
import { messageOf, ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import { GONE, type WholeRecord, wholeBytes, wholeRecord } from '../record.ts'
import { type BlobStore, directoryBlobs, memoryBlobs } from './blob-store.ts'
import { damagedLogOf, damagedTable, failedWrite, lostCommits, openedAgain } from './damage.ts'
import { decide } from './decision.ts'
import type { Again } from './directory.ts'
import { Doubts } from './doubts.ts'
import { GroupCommit, type Part } from './group-commit.ts'
import { objectKey, revisionKey, transactionKey } from './keys.ts'
import type { Level } from './level.ts'
import { CurrentState } from './level-snapshot.ts'
import { databaseId, type Packed, readPacked } from './meta.ts'
import { outboxOperation, outboxRows } from './outbox.ts'
import { Packing } from './packing.ts'
import { PLACES, RecentRecords } from './recent-records.ts'
import { copyRecords, countRecords, records } from './record-scan.ts'
import { Reopening } from './reopening.ts'
import type {
  Change,
  Commit,
  Committed,
  PackOptions,
  PackResult,
  RecordCounts,
  RecordEntry,
  Storage,
  StorageSnapshot,
  TransactionEntry,
  TransactionRange,
  Within,
} from './storage.ts'
import { Suspicion } from './suspicion.ts'
import { assertWhole, newestTransaction, transaction, transactions } from './transaction-log.ts'
import { encodeTransaction, type StoredTransaction } from './transaction-record.ts'
import type { Witness } from './witness.ts'
import { Writer } from './writer.ts'

/** What was found when the database was opened. */
interface Found {
  readonly last: { readonly tid: Tid; readonly nextOid: Oid }
  readonly packed: Packed
  readonly witness: Witness | undefined
  readonly suspicion: Suspicion | undefined
}

export class LevelStorage implements Storage {
  readonly location: string
  readonly id: string
  readonly level: Level
  private readonly state: CurrentState
  private readonly writer: Writer
  private readonly group: GroupCommit
  readonly blobs: BlobStore
  private readonly packing: Packing
  private witness: Witness | undefined
  private readonly suspicion: Suspicion | undefined
  /** Of a directory that can be opened again after a failed write. */
  private readonly again: Reopening | undefined
  private readonly doubts = new Doubts()
  private readonly listeners = new Set<(entry: TransactionEntry) => void>()
  /** What accepted transactions that are not yet durable have changed. New objects nobody else knows yet, but the nodes of structures. */
  private readonly unwritten = new Map<Oid, WholeRecord>()
  private readonly recent = new RecentRecords()
  private lastAccepted: Tid
  private nextOid: Oid
  /** While there is one, new transactions wait for it. */
  private gate: Promise<void> | undefined
  private closed = false

  private constructor(level: Level, location: string, id: string, found: Found, again: Again | undefined) {
    const { last, packed, witness, suspicion } = found
    this.level = level
    this.location = location
    this.id = id
    this.lastAccepted = last.tid
    this.nextOid = last.nextOid
    this.witness = witness
    this.suspicion = suspicion
    this.blobs = witness === undefined ? memoryBlobs() : directoryBlobs(location)
    this.state = new CurrentState(
      {
        level,
        recent: this.recent,
        suspicion,
        assertOpen: () => this.assertOpen(),
        endedState: () => openedAgain(location),
      },
      last.tid,
    )
    this.writer = new Writer(level, location)
    this.group = new GroupCommit(this.writer, {
      writing: () => this.state.beginWrite(),
      written: (parts, bytes) => this.written(parts, bytes),
      failed: (cause, parts) => this.failed(cause, parts),
    })
    this.packing = new Packing(
      {
        level,
        location,
        state: this.state,
        writer: this.writer,
        group: this.group,
        latest: oid => this.latest(oid),
        nextOid: () => this.nextOid,
        transactions: (after, upTo) => transactions(this, { after, upTo }),
      },
      packed,
    )
    if (again === undefined || suspicion !== undefined) return
    this.again = new Reopening(again, {
      level,
      location,
      atRest: work => this.packing.ended().then(() => this.atRest(work)),
      closed: () => this.witness?.close(),
      opened: found => this.opened(found),
    })
    this.writer.onFailure = cause => this.again?.failed(cause)
  }

  /**
   * @param level is opened if it is not
   * @param create whether an empty one may become an object database
   * @param witness of the directory, if it is one
   * @param again how the directory is opened again after a failed write; without it that is not done
   * @throws {ObjectError} DATABASE_FORMAT, DATABASE_CORRUPT
   */
  static async open(
    level: Level,
    location: string,
    { create, witness, again }: { create: boolean; witness?: Witness | undefined; again?: Again | undefined },
  ): Promise<LevelStorage> {
    await level.open()
    // looked for in another thread meanwhile; what is no object database is refused as such
    const newest = newestTransaction(level, witness?.tid ?? 0)
    newest.catch(() => undefined)
    const damaged = (witness?.damaged.length ?? 0) > 0
    const id = await databaseId(level, location, create, damaged)
    const packed = readPacked(level)
    const last = (await newest) ?? { tid: 0, nextOid: 1 }
    const lost =
      witness !== undefined && witness.tid > last.tid ? lostCommits(location, witness.tid, last.tid) : undefined
    if (lost !== undefined && !damaged) throw lost
    // what a damaged file has lost may have been the newest
    const doubt = lost ?? (witness?.log && damagedLogOf(location, witness.log))
    if (doubt !== undefined)
      process.emitWarning(`what is read may be older than it was: ${doubt.message}`, 'DatabaseWarning')
    const suspicion = damaged ? await Suspicion.of(level, location, packed) : undefined
    const storage = new LevelStorage(level, location, id, { last, packed, witness, suspicion }, again)
    // what is refused leaves the witness as it is, so that it is refused the next time too
    if (suspicion === undefined && witness !== undefined && witness.checkpoint !== last.tid)
      await assertWhole(storage, witness.checkpoint)
    witness?.begin(last.tid)
    if (suspicion === undefined && witness !== undefined) keepWatching(witness)
    return storage
  }

  /** LevelDB was opened again after a failed write. @throws {ObjectError} DATABASE_CORRUPT if what was durable is not there */
  private async opened(witness: Witness): Promise<void> {
    const { level, location, state } = this
    if ((await databaseId(level, location, false, false)) !== this.id)
      throw new ObjectError('DATABASE_CORRUPT', `${location} is not the database that it was`)
    const packed = readPacked(level)
    const last = (await newestTransaction(level, state.tid)) ?? { tid: 0, nextOid: 1 }
    if (last.tid < state.tid) throw lostCommits(location, state.tid, last.tid)
    const log = { level, location, lastTid: last.tid, packed: packed.tid }
    if (witness.checkpoint !== last.tid) await assertWhole(log, witness.checkpoint)
    const found: TransactionEntry[] = []
    for await (const entry of transactions(log, { after: state.tid })) found.push(entry)
    witness.begin(last.tid)
    keepWatching(witness)
    this.witness = witness
    this.writer.reopened()
    this.recent.clear()
    this.lastAccepted = last.tid
    this.nextOid = Math.max(this.nextOid, last.nextOid)
    state.reopened(packed.tid)
    this.again?.readable()
    if (found.length > 0) state.advance(last.tid)
    this.packing.reopened(packed, this.doubts.oids())
    for (const entry of found) this.tell(entry)
    this.doubts.end(new Set(found.map(({ tid }) => tid)))
  }

  get reopening(): Promise<void> | undefined {
    return this.again?.running
  }

  outcomeOf(commit: Commit): Promise<boolean | undefined> | undefined {
    return this.again && this.doubts.outcomeOf(commit)
  }

  get damage(): readonly string[] {
    return this.witness?.damaged ?? []
  }

  get lostTid(): Tid | undefined {
    return this.witness !== undefined && this.witness.tid > this.lastTid ? this.witness.tid : undefined
  }

  get packed(): Tid {
    return this.packing.packedTo
  }

  get lastTid(): Tid {
    return this.state.tid
  }

  snapshot(): StorageSnapshot {
    this.assertAcquirable()
    return this.state.acquire()
  }

  newOid(): Oid {
    return this.nextOid++
  }

  onCommit(listener: (entry: TransactionEntry) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  commit(commit: Commit): Promise<Committed> {
    if (this.gate !== undefined) return this.gate.then(() => this.commit(commit))
    try {
      return this.accept(commit)
    } catch (error) {
      return Promise.reject(error)
    }
  }

  async commitAtRest(plan: () => Promise<Commit>): Promise<Committed> {
    const { accepted } = await this.atRest(async () => ({ accepted: this.accept(await plan()) }))
    return await accepted
  }

  /** Does something while nothing is being written, and nothing is accepted. */
  private async atRest<Result>(work: () => Promise<Result>): Promise<Result> {
    while (this.gate !== undefined) await this.gate
    let opened = () => {}
    this.gate = new Promise(resolve => {
      opened = resolve
    })
    try {
      await this.group.drained()
      return await work()
    } finally {
      this.gate = undefined
      opened()
    }
  }

  /** Decides, and has what was decided written. Throws what refuses the transaction. */
  private accept(commit: Commit): Promise<Committed> {
    this.assertWritable()
    const { changes, bodies, befores, merged } = decide(commit, this, this.packing.removed)
    const tid = Math.max(Date.now() * 1000, this.lastAccepted + 1)
    const classes = new Set<string>()
    for (const { className } of bodies) if (className !== GONE.className) classes.add(className)
    const entry: StoredTransaction = {
      tid,
      previous: this.lastAccepted,
      nextOid: this.nextOid,
      user: commit.user,
      note: commit.note,
      extension: commit.extension,
      oids: changes.map(({ oid }) => oid),
      classes: [...classes].sort(),
      within: partsOf(changes),
    }
    // the last that may refuse the transaction; from here on it is accepted
    const row = encodeTransaction(entry)
    const rows = Array.from(commit.outbox, ([key, value]) => outboxOperation(key, value))
    const { batch } = this.group
    batch.put(transactionKey(tid), row)
    for (const each of rows) batch.add(each)
    const records: WholeRecord[] = []
    for (let i = 0; i < changes.length; i++) {
      const { oid, within } = changes[i]!
      const body = bodies[i]!
      const before = befores[i]
      const known = before !== undefined || within !== undefined
      // of many new objects the last ones are kept at hand
      const stored =
        known || i >= changes.length - PLACES ? wholeRecord(oid, body, tid, before?.serial ?? 0) : undefined
      batch.put(objectKey(oid, batch.spareKey), stored?.bytes ?? wholeBytes(oid, body, tid, 0))
      if (before !== undefined) batch.put(revisionKey(oid, before.serial), before.bytes)
      if (stored !== undefined) records.push(stored)
      if (stored !== undefined && known) this.unwritten.set(oid, stored)
      this.packing.written(oid, body)
    }
    this.lastAccepted = tid
    this.packing.accepted(changes)
    return this.group.accept({ entry, records, commit }, { tid, merged })
  }

  /** The current revision, durable or accepted. */
  latest(oid: Oid): WholeRecord | undefined {
    return this.unwritten.get(oid) ?? this.state.latest(oid)
  }

  private written(parts: readonly Part[], bytes: number): void {
    let last = this.lastTid
    for (const { entry, records = [], removed = [] } of parts) {
      if (entry !== undefined) last = entry.tid
      for (const record of records) {
        if (this.unwritten.size > 0 && this.unwritten.get(record.oid) === record) this.unwritten.delete(record.oid)
        this.recent.keep(record)
      }
      for (const oid of removed) this.recent.forget(oid)
    }
    if (last !== this.lastTid) this.witness?.committed(last, bytes)
    this.state.advance(last)
    for (const { entry } of parts) if (entry !== undefined) this.tell(entry)
  }

  private tell(entry: TransactionEntry): void {
    for (const listener of this.listeners) tell(listener, entry)
  }

  private failed(cause: unknown, parts: readonly Part[]): ObjectError {
    if (this.again !== undefined) this.doubts.begin(parts)
    this.unwritten.clear()
    this.state.writeFailed()
    return cause instanceof ObjectError ? cause : failedWrite(this.location, cause)
  }

  async *records(): AsyncGenerator<RecordEntry> {
    this.assertOpen()
    const seen = this.state.acquire()
    const failure = this.readingOn()
    try {
      const fixed = await this.state.fix(() => this.settled())
      try {
        yield* records(this.level, fixed, seen)
      } finally {
        this.state.unfix(fixed)
      }
    } catch (error) {
      failure(error)
    } finally {
      seen.release()
    }
  }

  countRecords(): Promise<RecordCounts> {
    this.assertOpen()
    return countRecords(this.level).catch(this.readingOn())
  }

  async transaction(tid: Tid): Promise<TransactionEntry | undefined> {
    this.assertOpen()
    return transaction(this, tid).catch(this.readingOn())
  }

  async *transactions(range?: TransactionRange): AsyncGenerator<TransactionEntry> {
    this.assertOpen()
    const failure = this.readingOn()
    try {
      yield* transactions(this, range)
    } catch (error) {
      failure(error)
    }
  }

  async copyTo(
    level: Level,
    progress: ((records: number) => void) | undefined,
  ): Promise<{ tid: Tid; records: number }> {
    this.assertOpen()
    const failure = this.readingOn()
    const fixed = await this.state.fix(() => this.settled())
    try {
      return await copyRecords(this.level, fixed, level, progress).catch(failure)
    } finally {
      this.state.unfix(fixed)
    }
  }

  async pack({ before, ...options }: PackOptions & { readonly before: Tid }): Promise<PackResult> {
    this.assertWritable()
    return this.packing.pack(before, options)
  }

  async *outboxRows(prefix: string): AsyncGenerator<[string, Uint8Array | undefined]> {
    this.assertOpen()
    const failure = this.readingOn()
    try {
      yield* outboxRows(this.level, prefix)
    } catch (error) {
      failure(error)
    }
  }

  async writeOutbox(
    rows: Iterable<readonly [string, Uint8Array | undefined]>,
    { sync }: { sync: boolean },
  ): Promise<void> {
    if (this.reopening !== undefined) await this.reopening
    this.assertWritable()
    const operations = Array.from(rows, ([key, value]) => outboxOperation(key, value))
    await this.writer.writeAll(operations, { sync })
  }

  async settled(): Promise<void> {
    if (this.reopening !== undefined) await this.reopening
    await this.group.settled()
  }

  async close(): Promise<void> {
    if (this.closed) return
    await this.again?.end()
    await this.group.drained()
    this.closed = true
    this.state.end()
    if (this.level.status === 'open') await this.witness?.merged()
    await this.level.close()
    this.witness?.close()
    this.again?.leave()
    this.doubts.end(undefined)
  }

  /** Something is read for a while. @returns what throws an error of it, by its meaning: LevelDB may have been opened again meanwhile */
  private readingOn(): (error: unknown) => never {
    const times = this.again?.times
    return error => {
      throw times === this.again?.times ? error : openedAgain(this.location)
    }
  }

  private assertWritable(): void {
    this.assertOpen()
    this.writer.assertSound()
    if (this.suspicion !== undefined)
      throw new ObjectError(
        'DATABASE_CORRUPT',
        `${this.location} is damaged (${this.damage.join(', ')}) and can only be read; restore it from a backup`,
      )
  }

  private assertOpen(): void {
    this.assertAcquirable()
    this.again?.assertReadable()
  }

  /** Whether there are states to be read, be it later. */
  private assertAcquirable(): void {
    if (this.suspicion === undefined && this.witness !== undefined && this.witness.damaged.length > 0)
      throw damagedTable(this.location, this.damage)
    if (this.closed) throw new ObjectError('DATABASE_CLOSED', `the database ${this.location} has been closed`)
  }
}

/** The changed parts of structures. */
function partsOf(changes: readonly Change[]): Within | undefined {
  let parts: Map<Oid, Oid[]> | undefined
  for (const { oid, within } of changes) {
    if (within === undefined) continue
    parts ??= new Map()
    const known = parts.get(within)
    if (known === undefined) parts.set(within, [oid])
    else known.push(oid)
  }
  return parts
}

function keepWatching(witness: Witness): void {
  witness.moved = () => void witness.watch()
  setTimeout(witness.moved, witness.merges ? 50 : 500).unref()
}

/** What is durable is so, whatever a listener makes of it. */
function tell(listener: (entry: TransactionEntry) => void, entry: TransactionEntry): void {
  try {
    listener(entry)
  } catch (error) {
    process.emitWarning(`whoever listens to commits failed: ${messageOf(error)}`, 'DatabaseWarning')
  }
}
