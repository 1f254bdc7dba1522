/**
 * A connection: one view of the database, with its own objects.
 *
 * It reads the snapshot of its transaction's beginning, keeps one object per oid (the identity map), and collects what is changed.
 * Changed objects are encoded into the overlay at each savepoint and at the commit; reads look there first. Commit hands the whole
 * overlay to the storage; a savepoint remembers what each of its entries replaced.
 *
 * A connection serves one flow of work. The objects of a closed connection keep what they had loaded; loading and changing end.
 */
import type { Database } from './database.ts'
import { ObjectError } from './errors.ts'
import { graft, innerValues } from './inner-values.ts'
import { mergeRecords } from './merge.ts'
import { type CacheLimits, ObjectCache } from './object-cache.ts'
import {
  asState,
  type Cell,
  cellOf,
  type Jar,
  newGhost,
  type Oid,
  Persistent,
  ROOT_OID,
  type State,
  type Tid,
} from './persistent.ts'
import { type Place, pickle, Reference as Ref, type Refer, type Reference, unpickle } from './pickle.ts'
import { type RecordBody, RecordDraft, roomFor, type StoredRecord, WholeRecord } from './record.ts'
import { classNamed, entryOf, upgraded } from './registry.ts'
import type { BlobStore } from './storage/blob-store.ts'
import { pastSnapshot } from './storage/past.ts'
import type { Change, Storage, StorageSnapshot, TransactionEntry } from './storage/storage.ts'
import { type Savepoint, Transaction } from './transaction.ts'

/** An object whose class is not registered: keeps its state, refuses changes. */
export class Broken extends Persistent {
  /** The name under which its record knows the class. */
  get _p_className(): string {
    return cellOf(this)?.brokenName ?? ''
  }
}

export interface ConnectionOptions extends CacheLimits {
  /** Refuse all changes. Default false. */
  readonly readOnly?: boolean | undefined
}

/** What a connection looks at: the newest state, or a past one for good. */
export interface View {
  readonly storage: Storage
  /** The last transaction seen; undefined for whatever is the newest when a transaction begins. */
  readonly past: Tid | undefined
}

interface Encoded {
  readonly record: RecordBody
  readonly references: readonly Oid[]
}
interface OverlayEntry extends Encoded {
  readonly cell: Cell
}
/** A savepoint: what the overlay had for each object that was stored since, and the inner values that may be in use outside. */
interface Undo {
  readonly overlay: Map<Cell, OverlayEntry | undefined>
  readonly inner: Map<Cell, readonly object[]>
}

export class Connection<Root extends Persistent = Persistent> implements Jar {
  readonly database: Database<Root>
  private readonly storage: Storage
  private readonly past: Tid | undefined
  private readonly readOnly: boolean
  private readonly objects: ObjectCache
  private readonly changed = new Set<Cell>()
  private readonly touched = new Set<Cell>()
  private readonly overlay = new Map<Oid, OverlayEntry>()
  private readonly savepoints: Undo[] = []
  /** Objects that the transaction relies on (readCurrent). */
  private readonly relied = new Set<Cell>()
  /** Objects that got their oid in this transaction. */
  private readonly added = new Set<Cell>()
  /** What others committed since the snapshot was taken: the newest as it came, the rest by object. */
  private readonly unseen: TransactionEntry[] = []
  private readonly outdated = new Map<Oid, Tid>()
  private readonly stopListening: () => void
  private readonly resolve = (reference: Reference): Persistent => this.ghost(reference)
  private snapshot: StorageSnapshot
  private current: Transaction | undefined
  private storing = false
  private closed = false

  constructor({ storage, past }: View, options: ConnectionOptions, database: Database<Root>) {
    this.storage = storage
    this.past = past
    this.database = database
    this.objects = new ObjectCache(options)
    this.readOnly = past !== undefined || (options.readOnly ?? false)
    this.snapshot = this.view()
    this.stopListening =
      past !== undefined
        ? () => undefined
        : storage.onCommit(entry => {
            if (this.unseen.push(entry) > MOST_UNSEEN) this.sortOut()
          })
  }

  private view(): StorageSnapshot {
    const newest = this.storage.snapshot()
    return this.past === undefined ? newest : pastSnapshot(newest, this.past)
  }

  /** The root of the tree. */
  get root(): Root {
    return this.get(ROOT_OID) as Root
  }

  /** Where the contents of blobs lie. */
  get blobs(): BlobStore {
    this.assertOpen()
    return this.storage.blobs
  }

  /** The transaction under way; a new one begins as soon as the last one has ended. */
  get transaction(): Transaction {
    this.assertOpen()
    this.current ??= new Transaction({
      store: tx => this.store(tx),
      discard: () => this.discard(),
      savepoint: () => this.savepoint(),
      ended: () => this.renew(),
    })
    return this.current
  }

  /**
   * The object with that id.
   * @throws {ObjectError} OBJECT_NOT_FOUND, CONNECTION_CLOSED, DATABASE_CORRUPT
   */
  get(oid: Oid): Persistent {
    this.assertOpen()
    const known = this.objects.get(oid)
    if (known !== undefined) return known.proxy
    const stored = this.stored(oid)
    if (stored === undefined)
      throw new ObjectError('OBJECT_NOT_FOUND', `no object with oid ${oid} in ${this.storage.location}`)
    const object = this.ghost(new Ref(oid, stored.className))
    this.fill(cellOf(object) as Cell, stored)
    return object
  }

  /**
   * Gives a new object its oid now, instead of when it is reached at commit. It is stored with the transaction.
   * @throws {ObjectError} INVALID_REFERENCE if it belongs to another connection
   */
  add(object: Persistent): Oid {
    return this.adopt(object, 'object').oid
  }

  /**
   * Makes the transaction rely on an object that it only read: if another one changes it first, the commit fails with READ_CONFLICT
   * (ZODB's readCurrent). Without it two transactions may each read what the other writes (write skew).
   */
  readCurrent(object: Persistent): void {
    const cell = cellOf(object)
    if (cell?.jar !== this)
      throw new ObjectError('INVALID_REFERENCE', 'readCurrent: the object does not belong to this connection')
    cell.loaded()
    if (cell.serial !== 0) this.relied.add(cell)
  }

  /**
   * Begins a new view of the database as it is now.
   * @throws {ObjectError} CONNECTION_DIRTY if there are changes
   */
  sync(): void {
    this.assertOpen()
    this.assertClean('sync')
    this.current = undefined
    this.renew()
  }

  /**
   * Ends the connection.
   * @throws {ObjectError} CONNECTION_DIRTY if there are changes; commit or abort first
   */
  close(): void {
    if (this.closed) return
    this.assertClean('close')
    this.release()
  }

  /** Ends the connection whatever it has changed. */
  release(): void {
    if (this.closed) return
    this.closed = true
    this.stopListening()
    this.snapshot.release()
  }

  /** Makes ghosts of all loaded objects but those with unsaved changes or with inner values in use (ZODB's cacheMinimize). */
  cacheMinimize(): void {
    this.assertOpen()
    this.objects.shrink(cell => this.mayGo(cell), { objects: 0, bytes: 0 })
  }

  /** How many objects the connection knows, how many of them are loaded, and with how many bytes of stored state. */
  get cacheStats(): { readonly objects: number; readonly loaded: number; readonly bytes: number } {
    return this.objects.stats
  }

  // --- objects of classes that are not registered, for import (lib/broken-transfer.ts)

  /** The version of its class with which a stored object was written. */
  storedVersion(oid: Oid): number {
    return this.stored(oid)?.version ?? 1
  }

  /** Gives a new object of an unknown class its oid. `storeBroken` has to follow. */
  addBroken(cell: Cell): void {
    cell.oid = this.storage.newOid()
    cell.jar = this
    this.objects.add(cell)
    this.added.add(cell)
  }

  storeBroken(cell: Cell, record: RecordBody, references: readonly Oid[]): void {
    this.savepoints.at(-1)?.overlay.set(cell, undefined)
    this.overlay.set(cell.oid, { cell, record, references })
  }

  // --- what the objects ask of their jar

  load(cell: Cell): void {
    this.assertOpen()
    const stored = this.stored(cell.oid)
    if (stored === undefined)
      throw new ObjectError(
        'OBJECT_NOT_FOUND',
        `no object with oid ${cell.oid} in ${this.storage.location}; something refers to it nevertheless`,
      )
    this.fill(cell, stored)
  }

  register(cell: Cell): void {
    this.assertOpen()
    if (this.readOnly)
      throw new ObjectError('READ_ONLY', `${cell} cannot be changed: the connection was opened for reading only`)
    if (cell.brokenName !== undefined)
      throw new ObjectError(
        'UNKNOWN_CLASS',
        `object ${cell.oid} cannot be changed: its class '${cell.brokenName}' is not registered; register it first`,
      )
    if (this.storing)
      throw new ObjectError(
        'TRANSACTION_FAILED',
        `${cell} cannot be changed while its transaction is being committed; await the commit first`,
      )
    this.remember(cell)
    this.changed.add(cell)
  }

  touch(cell: Cell): void {
    if (this.readOnly) return
    this.remember(cell)
    this.touched.add(cell)
  }

  examine(cell: Cell): void {
    if (!this.closed && !cell.changed && this.touched.has(cell) && this.differs(cell)) cell.change()
  }

  // --- the transaction

  private async store(tx: Transaction): Promise<void> {
    this.flush()
    if (this.overlay.size === 0 && tx.outbox.size === 0) return
    const changes = Array.from(
      this.overlay.values(),
      ({ cell, record, references }): Change => ({ oid: cell.oid, serial: cell.serial, record, references }),
    )
    this.storing = true
    try {
      const { tid, merged } = await this.storage.commit({
        changes,
        reads: new Map(Array.from(this.relied, cell => [cell.oid, cell.serial])),
        outbox: tx.outbox,
        user: tx.user,
        note: tx.note,
        extension: tx.extension,
        merge: (change, committed) => mergeRecords(change, committed, this.snapshot.load(change.oid)),
      })
      tx.tid = tid
      for (const { cell } of this.overlay.values()) {
        cell.serial = tid
        if (merged.has(cell.oid)) cell.ghostify()
      }
    } finally {
      this.storing = false
    }
    this.added.clear()
    this.forget()
  }

  private discard(): void {
    const cells = new Set([
      ...this.changed,
      ...this.touched,
      ...this.added,
      ...Array.from(this.overlay.values(), entry => entry.cell),
    ])
    for (const cell of this.added) cell.loaded()
    this.forget()
    this.revert(cells)
  }

  private forget(): void {
    this.overlay.clear()
    this.relied.clear()
    this.savepoints.length = 0
  }

  private savepoint(): Savepoint {
    this.flush()
    const own: Undo = { overlay: new Map(), inner: new Map() }
    this.savepoints.push(own)
    for (const cell of this.touched) this.remember(cell)
    return { rollback: () => this.rollback(own) }
  }

  private rollback(to: Undo): void {
    const index = this.savepoints.indexOf(to)
    if (index < 0)
      throw new ObjectError(
        'SAVEPOINT_INVALID',
        'the savepoint is gone: an earlier one was rolled back to, or its transaction has ended',
      )
    const cells = new Set([...this.changed, ...this.touched])
    for (const cell of this.added) cell.loaded()
    const inner = new Map<Cell, readonly object[]>()
    for (const undo of [to, ...this.savepoints.splice(index + 1)].toReversed()) {
      for (const [cell, before] of undo.overlay) {
        if (before === undefined) this.overlay.delete(cell.oid)
        else this.overlay.set(cell.oid, before)
        cells.add(cell)
      }
      for (const [cell, values] of undo.inner) inner.set(cell, values)
      undo.overlay.clear()
    }
    for (const cell of this.added) if (!this.overlay.has(cell.oid)) cells.add(cell)
    this.revert(cells)
    for (const [cell, values] of inner) {
      const stored = cell.jar !== this || cell.state !== undefined ? undefined : this.stored(cell.oid)
      if (stored === undefined) continue
      this.settle(cell, stored)
      graft(values, cell.loaded())
      cell.watched = false
      this.touched.add(cell)
      to.inner.set(cell, values)
    }
  }

  /** Notes the inner values of an object for the last savepoint, as they were there: before the first change since. */
  private remember(cell: Cell): void {
    const inner = this.savepoints.at(-1)?.inner
    if (inner !== undefined && cell.state !== undefined && !inner.has(cell)) inner.set(cell, innerValues(cell.state))
  }

  /** Puts objects back to what the overlay or the database has of them; those new to both become free again. */
  private revert(cells: Set<Cell>): void {
    this.changed.clear()
    this.touched.clear()
    for (const cell of cells) {
      if (cell.serial !== 0 || this.overlay.has(cell.oid)) {
        cell.ghostify()
        continue
      }
      this.objects.delete(cell.oid)
      this.added.delete(cell)
      cell.jar = undefined
      cell.oid = 0
      cell.changed = false
    }
  }

  /** Most connections end before they have to know what others committed; so it is not worked out as it comes. */
  private sortOut(): void {
    for (const { tid, oids } of this.unseen) for (const oid of oids) this.outdated.set(oid, tid)
    this.unseen.length = 0
  }

  /** Begins a new view: the next snapshot, without the objects that others have changed. */
  private renew(): void {
    this.current = undefined
    if (this.closed || this.past !== undefined) return
    const before = this.snapshot
    this.snapshot = this.view()
    before.release()
    this.sortOut()
    for (const [oid, tid] of this.outdated) {
      const cell = this.objects.get(oid)
      if (cell === undefined || cell.serial === tid) continue
      cell.ghostify()
      this.touched.delete(cell)
    }
    this.outdated.clear()
    if (!this.objects.crowded) return
    this.objects.shrink(cell => cell.serial !== 0 && !cell.changed)
    for (const cell of this.touched) if (cell.state === undefined) this.touched.delete(cell)
  }

  // --- encoding and decoding

  /** Encodes everything changed, and every new object reached from it, into the overlay. */
  private flush(): void {
    for (const cell of this.touched) this.examine(cell)
    const undo = this.savepoints.at(-1)?.overlay
    for (const cell of this.changed) {
      if (cell.changed) {
        const { record, references } = this.encode(cell, (object, place) => this.refer(object, place, cell))
        if (undo !== undefined && !undo.has(cell)) undo.set(cell, this.overlay.get(cell.oid))
        this.overlay.set(cell.oid, { cell, record, references })
        cell.changed = false
        if (!cell.watched) this.follow(cell)
      }
    }
    this.changed.clear()
  }

  /** Enters an object whose inner values may be known outside in the list of touched ones. */
  private follow(cell: Cell): void {
    cell.watch()
    if (!cell.mayChangeUnseen()) return
    cell.watched = false
    this.touched.add(cell)
  }

  private encode(cell: Cell, refer: Refer): Encoded {
    const { name, version } = classOf(cell)
    let references: Oid[] | undefined
    const noted: Refer = (object, place) => {
      const reference = refer(object, place)
      references ??= []
      references.push(reference.oid)
      return reference
    }
    const bytes = pickle(cell.loaded(), noted, cell, roomFor(name))
    return { record: new RecordDraft(name, version, bytes), references: references ?? NONE }
  }

  private refer(object: Persistent, place: Place, owner: Cell): Reference {
    const known = cellOf(object) as Cell
    const cell = known.jar === this ? known : this.adopt(object, `attribute ${place.path} of ${placeOf(owner)}`)
    return new Ref(cell.oid, cell.brokenName ?? classOf(cell).name)
  }

  private adopt(object: Persistent, where: string): Cell {
    const cell = cellOf(object)
    if (cell === undefined) throw new ObjectError('INVALID_VALUE', `${where} is not a Persistent object`)
    if (cell.jar === this) return cell
    if (cell.jar !== undefined)
      throw new ObjectError(
        'INVALID_REFERENCE',
        `${where} refers to ${placeOf(cell)}, which belongs to another connection${cell.jar instanceof Connection && cell.jar.database !== this.database ? ` and another database, ${cell.jar.database.location}` : ''}; get it by its path in this one`,
      )
    classOf(cell, where)
    cell.jar = this
    cell.oid = this.storage.newOid()
    this.objects.add(cell)
    this.added.add(cell)
    cell.change()
    return cell
  }

  private differs(cell: Cell): boolean {
    const stored = this.stored(cell.oid)
    if (stored === undefined) return true
    const known = (object: Persistent): Reference => {
      const other = cellOf(object) as Cell
      if (other.jar !== this) throw DIFFERENT
      return new Ref(other.oid, other.brokenName ?? classOf(other).name)
    }
    try {
      const now = pickle(cell.loaded(), known, cell)
      if (Buffer.compare(now, stored.state) === 0) return false
      // it may be the same state, of an older version of its class or with older names of others
      return Buffer.compare(now, pickle(this.attributes(cell, stored), known, cell)) !== 0
    } catch {
      return true
    }
  }

  private fill(cell: Cell, stored: RecordBody | StoredRecord): void {
    // the inner values that it had are its no more
    for (const { inner } of this.savepoints) inner.delete(cell)
    this.settle(cell, stored)
  }

  private settle(cell: Cell, stored: RecordBody | StoredRecord): void {
    const serial = stored instanceof WholeRecord ? stored.serial : cell.serial
    cell.settle(this.attributes(cell, stored), serial)
    const size = stored instanceof WholeRecord ? stored.bytes.length - stored.start : stored.state.length
    if (this.objects.loaded(cell, size)) this.objects.shrink(each => each !== cell && this.mayGo(each))
  }

  /** Whether an object can be made a ghost: it is as it was stored, and nobody holds an inner value of it. */
  private mayGo(cell: Cell): boolean {
    return cell.serial !== 0 && !cell.changed && !this.touched.has(cell) && !cell.exposed && !this.overlay.has(cell.oid)
  }

  private stored(oid: Oid): RecordBody | StoredRecord | undefined {
    return this.overlay.get(oid)?.record ?? this.snapshot.load(oid)
  }

  /** A record's attributes, as the registered version of its class has them. */
  private attributes(cell: Cell, stored: RecordBody): State {
    const { className, version } = stored
    const entry = classNamed(className)
    const outdated = entry !== undefined && entry.version !== version
    const record = outdated ? {} : cell.newState()
    const state =
      stored instanceof WholeRecord
        ? unpickle(stored.bytes, this.resolve, stored.start, record)
        : unpickle(stored.state, this.resolve, 0, record)
    if (state === record && !outdated) return state
    return asState(outdated ? upgraded(state, entry, version) : state)
  }

  private ghost({ oid, className }: Reference): Persistent {
    const known = this.objects.get(oid)
    if (known !== undefined) return known.proxy
    const entry = classNamed(className)
    const cell = newGhost((entry?.ctor ?? Broken).prototype, oid, this)
    if (entry === undefined) cell.brokenName = className
    this.objects.add(cell)
    return cell.proxy
  }

  private assertOpen(): void {
    if (this.closed)
      throw new ObjectError(
        'CONNECTION_CLOSED',
        'the connection of this object has ended; use objects inside their transaction, and return plain values from it',
      )
  }

  private assertClean(action: string): void {
    for (const cell of this.touched) this.examine(cell)
    if (this.changed.size > 0 || this.overlay.size > 0 || this.current?.isJoined)
      throw new ObjectError(
        'CONNECTION_DIRTY',
        `${action}: the connection has uncommitted changes; commit or abort its transaction first`,
      )
  }
}

/** Transactions that a connection remembers as they came. */
const MOST_UNSEEN = 1000
const NONE: readonly Oid[] = []
const DIFFERENT = new Error('refers to a new object')

/** An object with its path, if it has one. */
function placeOf(cell: Cell): string {
  try {
    const path = cell.proxy.physicalPath
    return path === '/' && cell.oid !== ROOT_OID ? `${cell}` : `${cell} at ${path}`
  } catch {
    // of a connection that has ended
    return `${cell}`
  }
}

function classOf(cell: Cell, where?: string): { name: string; version: number } {
  const entry = entryOf(cell.ctor)
  if (entry !== undefined) return entry
  const { name } = cell.proxy.constructor
  throw new ObjectError(
    'UNKNOWN_CLASS',
    `class ${name} is not registered, its objects cannot be stored${where === undefined ? '' : ` (${where})`}; call registerClass('${name}', ${name}) first`,
  )
}
