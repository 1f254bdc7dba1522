/**
 * A Map that is an object of its own, stored as one record (ZODB's PersistentMapping). For many entries take a BTree.
 *
 * Keys are strings, numbers, bigints, booleans, null, undefined or persistent objects, told apart as Map does; other objects have no
 * identity that outlives a transaction and are refused as keys. Values are whatever can be stored; a change inside one is noticed.
 * Transactions that change different keys merge.
 */
import { checkFunction, checkIterable } from './arguments.ts'
import { cellOf } from './cell.ts'
import { ObjectError } from './errors.ts'
import type { ConflictResolver } from './merge.ts'
import { mergeAttributes, mergeMaps } from './merge-maps.ts'
import { handOut, Persistent } from './persistent.ts'
import { registerClass, type StateRecord } from './registry.ts'
import { EXPLICIT, SOUND, type State } from './state.ts'

/** A Map as an object of its own, stored as one record; its methods are Map's. Transactions that change different keys merge. */
export class PersistentMap<K = unknown, V = unknown> extends Persistent implements ConflictResolver {
  get [EXPLICIT](): true {
    return true
  }

  [SOUND]({ data }: State): boolean {
    return data instanceof Map
  }

  private data = new Map<K, V>()

  /** @throws {ObjectError} INVALID_ARGUMENT for what cannot be a key */
  constructor(entries: Iterable<readonly [K, V]> = []) {
    super()
    for (const entry of checkIterable('PersistentMap', entries)) {
      const [key, value] = checkIterable('PersistentMap: an entry', entry)
      this.set(key, value)
    }
  }

  get size(): number {
    return this.data.size
  }

  get(key: K): V | undefined {
    return handOut(this, this.data.get(key))
  }

  has(key: K): boolean {
    return this.data.has(key)
  }

  /** @throws {ObjectError} INVALID_ARGUMENT for what cannot be a key */
  set(key: K, value: V): this {
    checkKey(key)
    this._p_changed = true
    this.data.set(key, handOut(this, value))
    return this
  }

  /** @returns true if the key was there */
  delete(key: K): boolean {
    if (!this.data.has(key)) return false
    this._p_changed = true
    return this.data.delete(key)
  }

  clear(): void {
    this._p_changed = true
    this.data.clear()
  }

  *keys(): Generator<K> {
    yield* this.data.keys()
  }

  *values(): Generator<V> {
    for (const value of this.data.values()) yield handOut(this, value)
  }

  *entries(): Generator<[K, V]> {
    for (const [key, value] of this.data) yield [key, handOut(this, value)]
  }

  [Symbol.iterator](): Generator<[K, V]> {
    return this.entries()
  }

  forEach(run: (value: V, key: K, map: this) => void): void {
    checkFunction('forEach', run)
    for (const [key, value] of this) run(value, key, this)
  }

  _p_resolveConflict(old: StateRecord, committed: StateRecord, mine: StateRecord): StateRecord {
    const data = mergeMaps(dataOf(old), dataOf(committed), dataOf(mine))
    return { ...mergeAttributes(old, committed, mine, 'data'), data }
  }
}

type Data = ReadonlyMap<unknown, unknown>
const dataOf = (state: StateRecord) => state.data as Data

function checkKey(key: unknown): void {
  const fits = typeof key === 'object' ? key === null || cellOf(key) !== undefined : !/symbol|function/.test(typeof key)
  if (!fits)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `a key of a PersistentMap must be a scalar value or a persistent object, found ${
        typeof key === 'object' ? `an object of class ${key?.constructor?.name}` : `a ${typeof key}`
      }`,
    )
}

registerClass('PersistentMap', PersistentMap)
