/**
 * The states of a LevelDB database: the newest, and the earlier ones that somebody still reads. A state is shared by all who read it.
 *
 * An earlier state needs no snapshot of LevelDB's: a record names the one before it, so where an object was written since, what the state shows of it
 * is found by following its revisions. A native snapshot is taken when a state is still read after a further write has followed, so that
 * no long way leads back, and where more than single objects is read (`fix`). It shows the newest state then, and serves the earlier ones too.
 * While a state is fixed, each new one gets its own: a pack removes revisions that the others need. When LevelDB is opened again native snapshots
 * end, and with them the states of a time before the last pack.
 */
import type { AbstractSnapshot } from 'abstract-level'
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import { decodeRecord, isGone, type WholeRecord } from '../record.ts'
import { objectKey, revisionKey } from './keys.ts'
import { BINARY, type Level, unreadable } from './level.ts'
import type { RecentRecords } from './recent-records.ts'
import type { StorageSnapshot } from './storage.ts'
import type { Suspicion } from './suspicion.ts'

/** What states are read from. */
export interface Source {
  readonly level: Level
  readonly recent: RecentRecords
  readonly suspicion: Suspicion | undefined
  /** @throws {ObjectError} DATABASE_CLOSED, DATABASE_CORRUPT, DATABASE_FAILED, READ_CONFLICT if nothing may be read (now) */
  assertOpen(): void
  /** What is said of a state that ended when LevelDB was opened again. */
  endedState(): ObjectError
}

type Reading = typeof BINARY & { readonly snapshot: AbstractSnapshot }

/** A native snapshot, and how many states are read from it. */
class Native {
  states = 0
  readonly reading: Reading

  constructor(level: Level) {
    this.reading = { ...BINARY, snapshot: level.snapshot() }
  }
}

export class SharedSnapshot implements StorageSnapshot {
  readonly tid: Tid
  /** How many writes came before it. */
  readonly number: number
  readers = 0
  native: Native | undefined
  /** Whether it needed a native snapshot that has ended. */
  lost = false
  private readonly source: Source
  private readonly owner: CurrentState

  constructor(source: Source, owner: CurrentState, tid: Tid, number: number) {
    this.source = source
    this.owner = owner
    this.tid = tid
    this.number = number
  }

  /** The current revision, be it that the object is gone. */
  latest(oid: Oid): WholeRecord | undefined {
    const { recent, suspicion } = this.source
    this.source.assertOpen()
    const known = recent.asOf(oid, this.tid)
    if (known !== undefined) return known
    let record = this.read(oid, objectKey(oid))
    suspicion?.check(oid, record)
    // of a later state, or of a write that is under way
    while (record !== undefined && record.serial > this.tid) record = this.before(oid, record)
    if (record !== undefined && this.owner.isNewest(this)) recent.keep(record)
    return record
  }

  load(oid: Oid): WholeRecord | undefined {
    const record = this.latest(oid)
    return record === undefined || isGone(record) ? undefined : record
  }

  *revisions(oid: Oid): Generator<WholeRecord> {
    for (let record = this.latest(oid); record !== undefined; record = this.before(oid, record)) yield record
  }

  release(): void {
    this.owner.release(this)
  }

  /** For iterators over this state; it has to be fixed. */
  get reading(): Reading {
    // it is fixed
    if (this.native === undefined) throw this.source.endedState()
    return this.native.reading
  }

  /** The revision before another; undefined if there was none, or a pack has removed it. */
  private before(oid: Oid, { serial, previous }: WholeRecord): WholeRecord | undefined {
    if (previous === 0) return undefined
    if (previous >= serial) throw disordered(oid, serial, previous)
    this.source.assertOpen()
    const record = this.read(oid, revisionKey(oid, previous))
    if (record !== undefined && record.serial !== previous) throw disordered(oid, previous, record.serial)
    return record
  }

  private read(oid: Oid, key: Buffer): WholeRecord | undefined {
    let bytes: Buffer | undefined
    if (this.lost) throw this.source.endedState()
    try {
      bytes = this.source.level.getSync(key, this.native?.reading ?? BINARY)
    } catch (error) {
      throw unreadable(error, `object ${oid} (key ${key.toString('hex')})`)
    }
    return bytes === undefined ? undefined : decodeRecord(oid, bytes)
  }
}

/** The newest state of a database, and the earlier ones that somebody still reads. */
export class CurrentState {
  private readonly source: Source
  private newest: SharedSnapshot
  /** The earlier states that are read without a native snapshot, the oldest first. */
  private readonly earlier = new Set<SharedSnapshot>()
  /** Those that are read with one. */
  private readonly held = new Set<SharedSnapshot>()
  private writing = false
  /** How many states are fixed. */
  private fixed = 0
  private ended = false

  constructor(source: Source, tid: Tid) {
    this.source = source
    this.newest = new SharedSnapshot(source, this, tid, 0)
  }

  get tid(): Tid {
    return this.newest.tid
  }

  isNewest(state: SharedSnapshot): boolean {
    return state === this.newest
  }

  /** The current revision of an object. */
  latest(oid: Oid): WholeRecord | undefined {
    return this.newest.latest(oid)
  }

  /** The newest state, to be released once. */
  acquire(): SharedSnapshot {
    this.newest.readers += 1
    return this.newest
  }

  /**
   * The newest state, to be iterated over and to be given back to `unfix`.
   * @param settled waits until what is being written has been
   */
  async fix(settled: () => Promise<void>): Promise<SharedSnapshot> {
    this.fixed += 1
    try {
      while (this.writing && this.newest.native === undefined) await settled()
      this.source.assertOpen()
      this.hold()
      return this.acquire()
    } catch (error) {
      this.fixed -= 1
      throw error
    }
  }

  unfix(state: SharedSnapshot): void {
    this.fixed -= 1
    this.release(state)
  }

  release(state: SharedSnapshot): void {
    state.readers -= 1
    if (state.readers === 0 && state !== this.newest) this.drop(state)
  }

  /** A write is about to begin. */
  beginWrite(): void {
    this.writing = true
    if (this.earlier.size === 0) return
    const [oldest] = this.earlier
    if (this.newest.number > oldest!.number + 1) this.hold()
  }

  /** What is on disk now is the newest state. Nothing is being written. */
  advance(tid: Tid): void {
    this.writing = false
    const before = this.newest
    this.newest = new SharedSnapshot(this.source, this, tid, before.number + 1)
    if (before.readers === 0) this.drop(before)
    else if (before.native === undefined) this.earlier.add(before)
    if (this.fixed > 0) this.hold()
  }

  /** A write has failed. Nothing is being written. */
  writeFailed(): void {
    this.writing = false
  }

  /** The level was closed and opened again: its snapshots have ended. @param packed the time of the last pack */
  reopened(packed: Tid): void {
    this.writing = false
    const states = [...this.held, ...this.earlier].sort((a, b) => a.number - b.number)
    this.held.clear()
    this.earlier.clear()
    for (const state of states) {
      state.native = undefined
      if (state === this.newest) continue
      state.lost = state.tid < packed
      if (!state.lost) this.earlier.add(state)
    }
  }

  /** The level is about to be closed, and its snapshots with it. */
  end(): void {
    this.ended = true
  }

  /** Takes a native snapshot for the newest state and those before it. Nothing may be writing. */
  private hold(): void {
    const native = this.newest.native ?? new Native(this.source.level)
    for (const state of [this.newest, ...this.earlier]) {
      if (state.native !== undefined) continue
      state.native = native
      native.states += 1
      this.held.add(state)
    }
    this.earlier.clear()
  }

  private drop(state: SharedSnapshot): void {
    this.earlier.delete(state)
    const { native } = state
    if (native === undefined) return
    this.held.delete(state)
    native.states -= 1
    if (native.states === 0 && !this.ended) void native.reading.snapshot.close()
  }
}

function disordered(oid: Oid, serial: Tid, other: Tid): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the revisions of object ${oid} are in disorder: ${other} stands where one before ${serial} belongs; restore the database from a backup`,
  )
}
