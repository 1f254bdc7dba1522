/**
 * A connection: one view of the database, with its own objects.
 *
 * It reads the snapshot of its transaction's beginning, keeps one object per oid (the identity map), and collects what is changed.
 * Changed objects are encoded into the overlay at each savepoint and at the commit; reads look there first. Commit hands the whole
 * overlay to the storage; a savepoint remembers what each of its entries replaced.
 *
 * A connection serves one flow of work. The objects of a closed connection keep what they had loaded; loading and changing end.
 */
import { shown, unexpected } from './arguments.ts'
import { Broken } from './broken.ts'
import { redone } from './btree-redo.ts'
import { type Cell, cellOf, type Jar, newGhost } from './cell.ts'
import type { Database } from './database.ts'
import { ObjectError } from './errors.ts'
import { timeOf } from './history.ts'
import { type Oid, ROOT_OID, type Tid } from './ids.ts'
import { graft } from './inner-values.ts'
import { Invalidations } from './invalidations.ts'
import { mergeRecords, sameAttributes } from './merge.ts'
import { type CacheLimits, ObjectCache } from './object-cache.ts'
import { attributesOf, sizeOf } from './object-reader.ts'
import { classOf, type Draft, ObjectWriter, placeOf } from './object-writer.ts'
import { Overlay } from './overlay.ts'
import type { Persistent } from './persistent.ts'
import { Reference as Ref, type Reference } from './pickle.ts'
import { type RecordBody, type StoredRecord, WholeRecord } from './record.ts'
import { classNamed } from './registry.ts'
import { Savepoints, type Undo } from './savepoints.ts'
import type { BlobStore } from './storage/blob-store.ts'
import { pastSnapshot } from './storage/past.ts'
import type { Commit, Committed, Storage, StorageSnapshot, TransactionEntry } from './storage/storage.ts'
import { type Savepoint, Transaction } from './transaction.ts'

/** Those of the options of `db.open` that have nothing to do with its moment. */
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

/** One view of the database, with its own objects and one transaction at a time. `db.transact` opens and closes one for each attempt. */
export class Connection<Root extends Persistent = Persistent> implements Jar {
  readonly database: Database<Root>
  private readonly storage: Storage
  private readonly past: Tid | undefined
  private readonly readOnly: boolean
  private readonly objects: ObjectCache
  /** An object stands here again where its mark was taken back meanwhile. */
  private changed: Cell[] = []
  private readonly touchedCells = new Set<Cell>()
  /** What the last commit has stored, until it is followed; of a connection that ends with its commit nothing ever is. */
  private unfollowed: readonly Cell[] = []
  private readonly overlay = new Overlay()
  private readonly savepoints = new Savepoints<Draft>()
  /** Objects that the transaction relies on (readCurrent), and with which attributes: undefined is all. */
  private readonly relied = new Map<Cell, readonly string[] | undefined>()
  /** Objects that got their oid in this transaction. */
  private added: Cell[] = []
  private readonly invalidations = new Invalidations()
  private readonly writer = new ObjectWriter(this, (object, where) => this.adopt(object, where))
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
      ended: tx => this.renew(tx.tid),
    })
    return this.current
  }

  /**
   * The object with that id.
   * @throws {ObjectError} OBJECT_NOT_FOUND, CONNECTION_CLOSED, DATABASE_CORRUPT
   */
  get(oid: Oid): Persistent {
    this.assertOpen()
    // a key of LevelDB's is made of anything
    const isOid = Number.isSafeInteger(oid) && oid > 0
    const known = isOid ? this.objects.get(oid) : undefined
    if (known !== undefined) return known.proxy
    const stored = isOid ? this.snapshot.load(oid) : undefined
    if (stored === undefined)
      throw new ObjectError(
        'OBJECT_NOT_FOUND',
        `no object with oid ${shown(oid)} in ${this.storage.location}${this.past === undefined ? '' : ` as it was at ${timeOf(this.past).toISOString()} (transaction ${this.past}); it was made later, or never`}`,
      )
    const object = this.ghost(new Ref(oid, stored.className))
    this.fill(cellOf(object) as Cell, stored)
    return object
  }

  /**
   * Gives a new object its oid now, instead of when it is reached at commit. It is stored with the transaction.
   * @throws {ObjectError} INVALID_REFERENCE if it belongs to another connection
   */
  add(object: Persistent): Oid {
    return this.adopt(object, () => 'object').oid
  }

  /**
   * Makes the transaction rely on an object that it only read: if another one changes it first, the commit fails with READ_CONFLICT
   * (ZODB's readCurrent). Without it two transactions may each read what the other writes (write skew).
   * @param attributes by default all; else others of it may be changed
   */
  readCurrent(object: Persistent, attributes?: readonly string[]): void {
    const cell = cellOf(object)
    if (cell?.jar !== this)
      throw new ObjectError('INVALID_REFERENCE', 'readCurrent: the object does not belong to this connection')
    if (attributes !== undefined && !Array.isArray(attributes))
      throw unexpected('readCurrent: attributes', 'a list of names', attributes)
    cell.loaded()
    if (cell.serial === 0) return
    const before = this.relied.has(cell) ? this.relied.get(cell) : []
    this.relied.set(cell, attributes && before && [...new Set([...before, ...attributes])])
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

  /** Whether there is anything that would be lost without a commit. */
  hasChanges(): boolean {
    for (const cell of this.touched) this.examine(cell)
    return this.changed.length > 0 || this.overlay.size > 0 || this.current?.isJoined === true
  }

  /**
   * Ends the connection.
   * @throws {ObjectError} CONNECTION_DIRTY if there are changes; commit or abort first. READ_ONLY if inner values were changed where nothing may be
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
    this.snapshot.release()
    this.database.released(this)
  }

  /** Aborts the transaction under way, if there is one, and ends the connection. */
  async abandon(): Promise<void> {
    if (!this.closed) await this.current?.abort()
    this.release()
  }

  /** A transaction has become durable. */
  note(entry: TransactionEntry): void {
    if (this.past === undefined) this.invalidations.note(entry)
  }

  /** What the connection sees stored of an object, whatever its transaction has changed. */
  seen(oid: Oid): StoredRecord | undefined {
    return this.snapshot.load(oid)
  }

  /** Makes ghosts of all loaded objects but those with unsaved changes or with inner values in use (ZODB's cacheMinimize). */
  cacheMinimize(): void {
    this.assertOpen()
    this.shrink(cell => this.mayGo(cell), { objects: 0, bytes: 0 })
  }

  /** How many objects the connection knows, how many of them are loaded, and with how many bytes of stored state. */
  get cacheStats(): { readonly objects: number; readonly loaded: number; readonly bytes: number } {
    return this.objects.stats
  }

  /** What is stored of an object that the transaction has not changed; undefined if it has, or may have in place. */
  unchanged(oid: Oid): RecordBody | undefined {
    this.assertOpen()
    const cell = this.objects.get(oid)
    if (cell === undefined) return this.snapshot.load(oid)
    return cell.changed || cell.exposed || this.touched.has(cell) ? undefined : this.stored(cell)
  }

  // --- objects of classes that are not registered, for import (lib/broken-transfer.ts)

  /** The version of its class with which a stored object was written. */
  storedVersion(oid: Oid): number {
    const cell = this.objects.get(oid)
    return (cell === undefined ? this.snapshot.load(oid) : this.stored(cell))?.version ?? 1
  }

  /** Gives a new object of an unknown class its oid. `storeBroken` has to follow. */
  addBroken(cell: Cell): void {
    cell.oid = this.storage.newOid()
    cell.jar = this
    this.objects.add(cell)
    this.added.push(cell)
  }

  storeBroken(cell: Cell, record: RecordBody, references: readonly Oid[]): void {
    this.savepoints.replacing(cell, undefined)
    this.overlay.set({ cell, oid: cell.oid, serial: 0, record, references })
  }

  // --- what the objects ask of their jar

  load(cell: Cell): void {
    this.assertOpen()
    const stored = this.stored(cell)
    if (stored === undefined)
      throw new ObjectError(
        'OBJECT_NOT_FOUND',
        `no object with oid ${cell.oid} in ${this.storage.location}; something refers to it nevertheless`,
      )
    this.fill(cell, stored)
  }

  object(reference: Reference): Persistent {
    return this.ghost(reference)
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
    this.savepoints.remember(cell)
    this.changed.push(cell)
  }

  touch(cell: Cell): void {
    this.savepoints.remember(cell)
    this.touched.add(cell)
  }

  examine(cell: Cell): void {
    if (this.closed || cell.changed || !this.touched.has(cell) || !this.differs(cell)) return
    if (!this.readOnly) cell.change()
    else if (!this.isOutdated(cell))
      throw new ObjectError(
        'READ_ONLY',
        `a value inside ${cell} was changed in place, though the connection was opened for reading only; abort the transaction, and change copies`,
      )
  }

  // --- the transaction

  private store(tx: Transaction): Promise<void> | undefined {
    this.flush(false)
    if (this.overlay.size === 0 && tx.outbox.size === 0) return undefined
    this.storing = true
    const commit: Commit = {
      changes: this.overlay.drafts,
      reads: NO_READS,
      ...(this.relied.size > 0 && this.reliance()),
      outbox: tx.outbox,
      user: tx.user,
      note: tx.note,
      extension: tx.extension,
      place: oid => {
        const cell = this.objects.get(oid)
        return cell && placeOf(cell)
      },
      merge: (change, committed) => mergeRecords(change, committed, this.snapshot.load(change.oid)),
      redo: (within, changes, now) =>
        redone(within, changes, {
          seen: oid => this.snapshot.load(oid),
          latest: oid => now.latest(oid),
          newOid: () => now.newOid(),
        }),
    }
    return this.storage.commit(commit).then(
      committed => this.committed(tx, committed),
      error => {
        this.storing = false
        tx.outcome = this.storage.outcomeOf?.(commit)
        throw error
      },
    )
  }

  private reliance(): Pick<Commit, 'reads' | 'attributes' | 'unchanged'> {
    const attributes = new Map<Oid, readonly string[]>()
    for (const [{ oid }, names] of this.relied) if (names !== undefined) attributes.set(oid, names)
    return {
      reads: new Map(Array.from(this.relied.keys(), cell => [cell.oid, cell.serial])),
      attributes,
      unchanged: (oid, _, names, committed) => sameAttributes(names, this.snapshot.load(oid), committed),
    }
  }

  private committed(tx: Transaction, { tid, merged }: Committed): void {
    this.storing = false
    tx.tid = tid
    const cells = this.overlay.clear()
    for (const cell of cells) cell.serial = tid
    this.unfollowed = cells
    for (const oid of merged) {
      const cell = this.objects.get(oid)
      if (cell === undefined) continue
      cell.ghostify()
      this.touched.delete(cell)
    }
    this.added = []
    this.forget()
  }

  private discard(): void {
    for (const cell of this.added) cell.complete()
    const cells = new Set([...this.changed, ...this.touched, ...this.added, ...this.overlay.clear()])
    this.forget()
    this.revert(cells)
  }

  private forget(): void {
    if (this.relied.size > 0) this.relied.clear()
    this.savepoints.clear()
  }

  private savepoint(): Savepoint & { assertKnown(): void } {
    this.flush(true)
    const own = this.savepoints.begin()
    for (const cell of this.touched) this.savepoints.remember(cell)
    return { assertKnown: () => this.savepoints.assertKnown(own), rollback: () => this.rollback(own) }
  }

  private rollback(to: Undo<Draft>): void {
    const cells = new Set([...this.changed, ...this.touched])
    for (const cell of this.added) cell.complete()
    const inner = this.savepoints.undoTo(to, (cell, before) => {
      if (before === undefined) this.overlay.delete(cell)
      else this.overlay.set(before)
      cells.add(cell)
    })
    for (const cell of this.added) if (cell.draft === undefined) cells.add(cell)
    this.revert(cells)
    let lost: Cell | undefined
    for (const [cell, values] of inner) {
      const stored = cell.jar !== this || cell.state !== undefined ? undefined : this.stored(cell)
      if (stored === undefined) continue
      this.settle(cell, stored)
      if (!graft(values, cell.complete())) lost = cell
      cell.watched = false
      this.touched.add(cell)
      to.inner.set(cell, values)
    }
    if (lost !== undefined)
      throw new ObjectError(
        'TRANSACTION_FAILED',
        `a value inside ${placeOf(lost)} cannot go back to the savepoint, and can still be changed: properties of it were made read-only or permanent since, or upgrading made another of it; abort the transaction, and freeze such values as a whole`,
      )
  }

  /** Puts objects back to what the overlay or the database has of them; those new to both become free again. */
  private revert(cells: Set<Cell>): void {
    this.changed = []
    this.touched.clear()
    for (const cell of cells) {
      if (cell.serial !== 0 || cell.draft !== undefined) {
        cell.ghostify()
        continue
      }
      this.objects.delete(cell.oid)
      cell.jar = undefined
      cell.oid = 0
      cell.changed = false
    }
    this.added = this.added.filter(cell => cell.jar !== undefined)
  }

  /**
   * Begins a new view: the next snapshot, without the objects that others have changed.
   * @param own the connection's own transaction
   */
  private renew(own?: Tid): void {
    this.current = undefined
    if (this.closed || this.past !== undefined || this.database.isClosed) return
    const before = this.snapshot
    this.snapshot = this.view()
    before.release()
    this.invalidations.take(own, (oid, tid) => {
      const cell = this.objects.get(oid)
      if (cell === undefined || cell.serial === tid) return
      cell.ghostify()
      this.touched.delete(cell)
    })
    if (this.objects.crowdedAtEnd) this.shrink(cell => cell.serial !== 0 && !cell.changed)
  }

  // --- encoding and decoding

  /**
   * Encodes everything changed, and every new object reached from it, into the overlay.
   * @param follow whether the transaction goes on; what it ends with is followed when it is committed
   */
  private flush(follow: boolean): void {
    for (const cell of this.touched) this.examine(cell)
    for (const cell of this.changed) {
      // a new object is referred to, whether its mark was taken back or not
      if (cell.changed || (cell.serial === 0 && cell.draft === undefined)) {
        const draft = this.writer.encode(cell)
        this.savepoints.replacing(cell, cell.draft)
        this.overlay.set(draft)
        cell.changed = false
        if (follow && !cell.watched) this.follow(cell)
      }
    }
    this.changed = []
  }

  /** The objects whose inner values may be known outside. */
  private get touched(): Set<Cell> {
    if (this.unfollowed.length > 0) {
      const cells = this.unfollowed
      this.unfollowed = []
      for (const cell of cells) if (!cell.watched) this.follow(cell)
    }
    return this.touchedCells
  }

  /** Enters an object that has been stored among the touched ones, if its inner values may be known outside. */
  private follow(cell: Cell): void {
    cell.watch()
    if (!cell.mayChangeUnseen()) return
    cell.watched = false
    this.touchedCells.add(cell)
  }

  private adopt(object: Persistent, where: () => string): Cell {
    const cell = cellOf(object)
    if (cell === undefined) throw new ObjectError('INVALID_VALUE', `${where()} is not a Persistent object`)
    if (cell.jar === this) return cell
    if (cell.jar !== undefined)
      throw new ObjectError(
        'INVALID_REFERENCE',
        `${where()} refers to ${placeOf(cell)}, which belongs to another connection${cell.jar instanceof Connection && cell.jar.database !== this.database ? ` and another database, ${cell.jar.database.location}` : ''}; get it by its path in this one`,
      )
    classOf(cell, where)
    this.register(cell)
    cell.jar = this
    cell.oid = this.storage.newOid()
    cell.changed = true
    this.objects.addNew(cell)
    this.added.push(cell)
    return cell
  }

  private differs(cell: Cell): boolean {
    const stored = this.stored(cell)
    if (stored === undefined) return true
    return this.writer.differs(cell, stored, () => attributesOf(cell, stored, this.resolve))
  }

  private fill(cell: Cell, stored: RecordBody | StoredRecord): void {
    // the inner values that it had are its no more
    this.savepoints.forgetInner(cell)
    this.settle(cell, stored)
  }

  private settle(cell: Cell, stored: RecordBody | StoredRecord): void {
    const serial = stored instanceof WholeRecord ? stored.serial : cell.serial
    cell.settle(attributesOf(cell, stored, this.resolve), serial)
    if (this.objects.loaded(cell, sizeOf(stored))) this.shrink(each => each !== cell && this.mayGo(each))
  }

  private shrink(mayGo: (cell: Cell) => boolean, limit?: { objects: number; bytes: number }): void {
    this.objects.shrink(mayGo, limit)
    for (const cell of this.touched) if (cell.state === undefined) this.touched.delete(cell)
  }

  /** Whether an object can be made a ghost: it is as it was stored, and stays so. */
  private mayGo(cell: Cell): boolean {
    return cell.serial !== 0 && !cell.changed && cell.draft === undefined && !this.isInUse(cell)
  }

  /** Whether somebody may hold an inner value of it, whose changes count; where nothing may be changed only one that was has to be told of. */
  private isInUse(cell: Cell): boolean {
    return (this.touched.has(cell) || cell.exposed) && (!this.readOnly || this.differs(cell))
  }

  /** Whether it was upgraded when it was loaded; what upgrading makes may be new each time, such as a date. */
  private isOutdated(cell: Cell): boolean {
    const stored = this.stored(cell)
    return stored !== undefined && classNamed(stored.className)?.version !== stored.version
  }

  private stored({ draft, oid }: Cell): RecordBody | StoredRecord | undefined {
    return draft?.record ?? this.snapshot.load(oid)
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
    if (this.hasChanges())
      throw new ObjectError(
        'CONNECTION_DIRTY',
        `${action}: the connection has uncommitted changes; commit or abort its transaction first`,
      )
  }
}

const NO_READS: ReadonlyMap<Oid, Tid> = new Map()
