/** One state of a LevelDB database, shared by all who read it; let go when the last of them has released it. */
import type { AbstractSnapshot } from 'abstract-level'
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import { decodeRecord, isGone, type WholeRecord } from '../record.ts'
import { objectKey, revisionKey } from './keys.ts'
import { BINARY, type Level, unreadable } from './level.ts'
import type { RecentRecords } from './recent-records.ts'
import type { Suspicion } from './suspicion.ts'

/** What states are read from. */
export interface Source {
  readonly level: Level
  readonly recent: RecentRecords
  readonly suspicion: Suspicion | undefined
}

export class SharedSnapshot {
  readonly tid: Tid
  readers = 0
  /** Whether it is the newest state. */
  newest = true
  private readonly source: Source
  private readonly snapshot: AbstractSnapshot
  private readonly options: typeof BINARY & { snapshot: AbstractSnapshot }

  constructor(source: Source, tid: Tid) {
    this.source = source
    this.tid = tid
    this.snapshot = source.level.snapshot()
    this.options = { ...BINARY, snapshot: this.snapshot }
  }

  /** The current revision, be it that the object is gone. */
  latest(oid: Oid): WholeRecord | undefined {
    const { recent, suspicion } = this.source
    const known = recent.asOf(oid, this.tid)
    if (known !== undefined) return known
    const bytes = this.read(oid, objectKey(oid))
    const record = bytes === undefined ? undefined : decodeRecord(oid, bytes)
    suspicion?.check(oid, record)
    if (this.newest && record !== undefined) recent.keep(record)
    return record
  }

  private read(oid: Oid, key: Buffer): Buffer | undefined {
    try {
      return this.source.level.getSync(key, this.options)
    } catch (error) {
      throw unreadable(error, `object ${oid} (key ${key.toString('hex')})`)
    }
  }

  load(oid: Oid): WholeRecord | undefined {
    const record = this.latest(oid)
    return record === undefined || isGone(record) ? undefined : record
  }

  *revisions(oid: Oid): Generator<WholeRecord> {
    let record = this.latest(oid)
    while (record !== undefined) {
      yield record
      const { serial, previous } = record
      if (previous === 0) return
      if (previous >= serial) throw disordered(oid, serial, previous)
      const bytes = this.read(oid, revisionKey(oid, previous))
      record = bytes === undefined ? undefined : decodeRecord(oid, bytes)
      if (record !== undefined && record.serial !== previous) throw disordered(oid, previous, record.serial)
    }
  }

  /** For iterators over this state. */
  get reading(): typeof BINARY & { snapshot: AbstractSnapshot } {
    return this.options
  }

  close(): void {
    void this.snapshot.close()
  }
}

/** The newest state of a database, and the earlier ones that somebody still reads. */
export class CurrentState {
  private readonly source: Source
  private shared: SharedSnapshot
  private ended = false

  constructor(source: Source, tid: Tid) {
    this.source = source
    this.shared = new SharedSnapshot(source, tid)
  }

  get tid(): Tid {
    return this.shared.tid
  }

  /** The current revision of an object. */
  latest(oid: Oid): WholeRecord | undefined {
    return this.shared.latest(oid)
  }

  /** The newest state, to be released once. */
  acquire(): SharedSnapshot {
    this.shared.readers += 1
    return this.shared
  }

  release(snapshot: SharedSnapshot): void {
    snapshot.readers -= 1
    if (snapshot.readers === 0 && snapshot !== this.shared && !this.ended) snapshot.close()
  }

  /** What is on disk now is the newest state. Nothing may be writing. */
  advance(tid: Tid): void {
    const before = this.shared
    before.newest = false
    this.shared = new SharedSnapshot(this.source, tid)
    if (before.readers === 0) before.close()
  }

  /** The level is about to be closed, and its snapshots with it. */
  end(): void {
    this.ended = true
  }
}

function disordered(oid: Oid, serial: Tid, other: Tid): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the revisions of object ${oid} are in disorder: ${other} stands where one before ${serial} belongs; restore the database from a backup`,
  )
}
