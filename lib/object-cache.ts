/**
 * A connection's objects by oid (the identity map), and how many of them stay loaded (ZODB: the pickle cache).
 *
 * An object that is alive anywhere is found here, so there is one per oid. When more are loaded than `cacheSize` objects or `cacheBytes`
 * bytes of state, the ones that came first become ghosts; a ghost is held weakly, and goes when nobody refers to it. An object with unsaved changes, or
 * of which inner values may be in use, is never made a ghost; where more of these are loaded than the limits allow, the cache is looked through again
 * only when half as much more has been loaded, so that no transaction takes longer and longer for each object.
 */
import { unexpected } from './arguments.ts'
import { Cell } from './cell.ts'
import type { Oid } from './ids.ts'

/** How much a connection keeps loaded; what was loaded first becomes ghosts, and is loaded again when it is read. */
export interface CacheLimits {
  /** Objects that stay loaded in a connection. Default 100,000. */
  readonly cacheSize?: number | undefined
  /** Bytes of stored state that stay loaded in a connection. Default 128 MiB. */
  readonly cacheBytes?: number | undefined
}

/** What may be loaded between two looks at least, whatever the limits. */
const LEAST_OBJECTS = 100
const LEAST_BYTES = 16 * 1024

export class ObjectCache {
  private readonly known = new Map<Oid, Cell | WeakRef<Cell>>()
  /** New objects that are not in the map yet: seldom does anybody ask for them by their oid before they are stored. */
  private fresh: Cell[] = []
  /** The lowest oid of these. */
  private freshFrom: Oid = 0
  private readonly size: number
  private readonly bytes: number
  /** What was loaded since the cache was last looked through. */
  private freshObjects = 0
  private freshBytes = 0
  /** Whether more stayed loaded then than should: what was in use. */
  private overfull = false
  /** How much may be loaded before it is looked through again. */
  private dueObjects = 0
  private dueBytes = 0

  constructor({ cacheSize = 100_000, cacheBytes = 128 * 1024 * 1024 }: CacheLimits) {
    for (const [name, limit] of Object.entries({ cacheSize, cacheBytes }))
      if (!(typeof limit === 'number' && limit >= 0)) throw unexpected(name, 'a number from 0', limit)
    this.size = cacheSize
    this.bytes = cacheBytes
    this.lookedThrough(0, 0)
  }

  get(oid: Oid): Cell | undefined {
    const found = (oid >= this.freshFrom ? this.cells : this.known).get(oid)
    return found === undefined || found instanceof Cell ? found : found.deref()
  }

  add(cell: Cell): void {
    this.cells.set(cell.oid, cell)
  }

  /** Adds an object that has just got its oid. */
  addNew(cell: Cell): void {
    if (this.fresh.length === 0 || cell.oid < this.freshFrom) this.freshFrom = cell.oid
    this.fresh.push(cell)
  }

  private get cells(): Map<Oid, Cell | WeakRef<Cell>> {
    if (this.fresh.length > 0) {
      for (const cell of this.fresh) this.known.set(cell.oid, cell)
      this.fresh = []
    }
    return this.known
  }

  delete(oid: Oid): void {
    this.cells.delete(oid)
  }

  /** Whether it is worth being looked through when a transaction has ended, and nothing is in use any more. */
  get crowdedAtEnd(): boolean {
    return this.crowded || this.overfull
  }

  /** Takes note of an object whose state was loaded. @returns whether there are too many by now */
  loaded(cell: Cell, bytes: number): boolean {
    if (!cell.held) this.cells.set(cell.oid, cell)
    cell.held = true
    cell.bytes = bytes
    this.freshObjects += 1
    this.freshBytes += bytes
    return this.crowded
  }

  /** Whether so much has been loaded that the cache is worth being looked through. */
  get crowded(): boolean {
    return this.freshObjects > this.dueObjects || this.freshBytes > this.dueBytes
  }

  /**
   * Makes ghosts of what is loaded beyond the limits, the first first.
   * @param mayGo whether an object can be made a ghost now
   */
  shrink(
    mayGo: (cell: Cell) => boolean,
    limit: { objects: number; bytes: number } = { objects: this.size, bytes: this.bytes },
  ): void {
    let objects = 0
    let bytes = 0
    for (const each of this.cells.values()) {
      if (!(each instanceof Cell) || each.state === undefined) continue
      objects += 1
      bytes += each.bytes
    }
    for (const [oid, each] of this.cells) {
      if (!(each instanceof Cell)) {
        if (each.deref() === undefined) this.cells.delete(oid)
        continue
      }
      if (each.state !== undefined) {
        if ((objects <= limit.objects && bytes <= limit.bytes) || !mayGo(each)) continue
        objects -= 1
        bytes -= each.bytes
        each.ghostify()
      }
      each.held = false
      this.cells.set(oid, new WeakRef(each))
    }
    this.lookedThrough(objects, bytes)
  }

  /** @param objects how many stayed loaded, with so many bytes */
  private lookedThrough(objects: number, bytes: number): void {
    this.freshObjects = 0
    this.freshBytes = 0
    this.overfull = objects > this.size * 1.5 + LEAST_OBJECTS || bytes > this.bytes * 1.5 + LEAST_BYTES
    this.dueObjects = Math.max(this.size * 1.5 - objects, objects / 2) + LEAST_OBJECTS
    this.dueBytes = Math.max(this.bytes * 1.5 - bytes, bytes / 2, LEAST_BYTES)
  }

  /** How many objects are known, loaded or not, and how many bytes of state are loaded. */
  get stats(): { objects: number; loaded: number; bytes: number } {
    let objects = 0
    let loaded = 0
    let bytes = 0
    for (const each of this.cells.values()) {
      const cell = each instanceof Cell ? each : each.deref()
      if (cell === undefined) continue
      objects += 1
      if (cell.state === undefined) continue
      loaded += 1
      bytes += cell.bytes
    }
    return { objects, loaded, bytes }
  }
}
