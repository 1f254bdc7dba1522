/**
 * An ordered mapping that is stored in pieces, so that a large one is never loaded or written whole.
 *
 * A B+ tree: entries lie in leaves of at most LEAF entries, branches of at most BRANCH children lead to them. Each node is a
 * persistent object of its own. Keys are strings or finite numbers; numbers come before strings, strings in the order of their UTF-16 code units.
 *
 * Concurrent transactions that change different keys do not conflict, unless one of them splits or empties the leaf that
 * both changed: a leaf counts its splits, and a leaf that was emptied has left the tree.
 */
import { isDeepStrictEqual } from 'node:util'
import { ObjectError } from './errors.ts'
import type { ConflictResolver } from './merge.ts'
import { EXPLICIT, handOut, Persistent } from './persistent.ts'
import { registerClass, type StateRecord } from './registry.ts'

export type Key = string | number

const LEAF = 32
const BRANCH = 128

function compare(a: Key, b: Key): number {
  if (a === b) return 0
  if (typeof a !== typeof b) return typeof a === 'number' ? -1 : 1
  return a < b ? -1 : 1
}

function checked(key: Key): Key {
  if (typeof key === 'string' || (typeof key === 'number' && Number.isFinite(key))) return key
  throw new ObjectError('INVALID_ARGUMENT', `a key must be a string or a finite number, found ${String(key)}`)
}

/** The first index whose key is not less than `key`. */
function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compare(keys[middle]!, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

class Leaf extends Persistent implements ConflictResolver {
  get [EXPLICIT](): true {
    return true
  }

  keys: Key[] = []
  values: unknown[] = []
  splits = 0

  /** The upper half, in a leaf of its own. */
  split(): { key: Key; right: Leaf } {
    const right = new Leaf()
    const half = this.keys.length >>> 1
    right.keys = this.keys.splice(half)
    right.values = this.values.splice(half)
    for (const value of right.values) handOut(right, value)
    this.splits += 1
    return { key: right.keys[0]!, right }
  }

  _p_resolveConflict(old: StateRecord, committed: StateRecord, mine: StateRecord): StateRecord {
    if (committed.splits !== old.splits || mine.splits !== old.splits) throw new Error('the leaf was split')
    const [before, theirs, ours] = [old, committed, mine].map(entriesOf) as [Entries, Entries, Entries]
    if (theirs.size === 0 || ours.size === 0) throw new Error('the leaf was emptied')
    const merged = new Map(theirs)
    for (const key of new Set([...before.keys(), ...ours.keys()])) {
      if (same(before, ours, key)) continue
      if (!same(before, theirs, key)) throw new Error(`both changed ${key}`)
      if (ours.has(key)) merged.set(key, ours.get(key))
      else merged.delete(key)
    }
    if (merged.size === 0) throw new Error('the leaf would be empty')
    const entries = [...merged].sort(([a], [b]) => compare(a, b))
    return { ...committed, keys: entries.map(([key]) => key), values: entries.map(([, value]) => value) }
  }
}

type Entries = Map<Key, unknown>

function entriesOf(state: StateRecord): Entries {
  const values = state.values as unknown[]
  return new Map((state.keys as Key[]).map((key, i) => [key, values[i]]))
}

function same(a: Entries, b: Entries, key: Key): boolean {
  return a.has(key) === b.has(key) && isDeepStrictEqual(a.get(key), b.get(key))
}

/** `children[i]` holds the keys below `keys[i]`, the last child all others. */
class Branch extends Persistent {
  get [EXPLICIT](): true {
    return true
  }

  keys: Key[] = []
  children: Node[] = []

  childFor(key: Key): number {
    const index = lowerBound(this.keys, key)
    return this.keys[index] === key ? index + 1 : index
  }

  split(): { key: Key; right: Branch } {
    const right = new Branch()
    const half = this.keys.length >>> 1
    right.keys = this.keys.splice(half + 1)
    right.children = this.children.splice(half + 1)
    return { key: this.keys.pop()!, right }
  }
}

type Node = Leaf | Branch
type Step = { branch: Branch; index: number }

/** An ordered mapping from strings or numbers to any values that can be stored. */
export class BTree<V = unknown> extends Persistent {
  get [EXPLICIT](): true {
    return true
  }

  private top: Node = new Leaf()

  /** @returns the value, or undefined */
  get(key: Key): V | undefined {
    const { leaf } = this.find(checked(key))
    const index = lowerBound(leaf.keys, key)
    return leaf.keys[index] === key ? (handOut(leaf, leaf.values[index]) as V) : undefined
  }

  has(key: Key): boolean {
    const { leaf } = this.find(checked(key))
    return leaf.keys[lowerBound(leaf.keys, key)] === key
  }

  /** Sets the value of `key`. @returns true if the key is new */
  set(key: Key, value: V): boolean {
    const { leaf, path } = this.find(checked(key))
    const index = lowerBound(leaf.keys, key)
    const isNew = leaf.keys[index] !== key
    leaf._p_changed = true
    leaf.keys.splice(index, isNew ? 0 : 1, key)
    leaf.values.splice(index, isNew ? 0 : 1, handOut(leaf, value))
    if (leaf.keys.length > LEAF) this.grow(path, leaf.split())
    return isNew
  }

  /** @returns true if the key was there */
  delete(key: Key): boolean {
    const { leaf, path } = this.find(checked(key))
    const index = lowerBound(leaf.keys, key)
    if (leaf.keys[index] !== key) return false
    leaf._p_changed = true
    leaf.keys.splice(index, 1)
    leaf.values.splice(index, 1)
    if (leaf.keys.length === 0) this.shrink(path)
    return true
  }

  /** Keys in order, from `from` (included) up to `to` (not included). */
  *keys(from?: Key, to?: Key): Generator<Key> {
    for (const [leaf, index] of this.places(from, to)) yield leaf.keys[index]!
  }

  *values(from?: Key, to?: Key): Generator<V> {
    for (const [leaf, index] of this.places(from, to)) yield handOut(leaf, leaf.values[index]) as V
  }

  *entries(from?: Key, to?: Key): Generator<[Key, V]> {
    for (const [leaf, index] of this.places(from, to)) yield [leaf.keys[index]!, handOut(leaf, leaf.values[index]) as V]
  }

  [Symbol.iterator](): Generator<[Key, V]> {
    return this.entries()
  }

  /** Where the entries lie. The tree may be changed meanwhile: each leaf is found anew by its first key. */
  private *places(from?: Key, to?: Key): Generator<[leaf: Leaf, index: number]> {
    let start = from
    for (;;) {
      const { leaf, next } = this.leafFrom(start)
      const keys = [...leaf.keys]
      for (let i = start === undefined ? 0 : lowerBound(keys, start); i < keys.length; i++) {
        if (to !== undefined && compare(keys[i]!, to) >= 0) return
        const index = leaf.keys[i] === keys[i] ? i : leaf.keys.indexOf(keys[i]!)
        if (index >= 0) yield [leaf, index]
      }
      if (next === undefined) return
      start = next
    }
  }

  /** The leaf for `from` (or the first one), and the lower bound of the next. */
  private leafFrom(from: Key | undefined): { leaf: Leaf; next: Key | undefined } {
    let next: Key | undefined
    let node = this.top
    while (node instanceof Branch) {
      const index = from === undefined ? 0 : node.childFor(from)
      next = node.keys[index] ?? next
      node = node.children[index]!
    }
    return { leaf: node, next }
  }

  private find(key: Key): { leaf: Leaf; path: Step[] } {
    const path: Step[] = []
    let node = this.top
    while (node instanceof Branch) {
      const index = node.childFor(key)
      path.push({ branch: node, index })
      node = node.children[index]!
    }
    return { leaf: node, path }
  }

  /** Hangs the right half of a node that was split into its parent, and so on upward. */
  private grow(path: Step[], half: { key: Key; right: Node }): void {
    const step = path.pop()
    if (step === undefined) {
      const branch = new Branch()
      branch.keys = [half.key]
      branch.children = [this.top, half.right]
      this.top = branch
      return
    }
    const { branch, index } = step
    branch._p_changed = true
    branch.keys.splice(index, 0, half.key)
    branch.children.splice(index + 1, 0, half.right)
    if (branch.children.length > BRANCH) this.grow(path, branch.split())
  }

  /** Takes an empty node out of its parent, and a parent that has become empty out of its own. */
  private shrink(path: Step[]): void {
    const step = path.pop()
    if (step === undefined) return
    const { branch, index } = step
    branch._p_changed = true
    branch.children.splice(index, 1)
    branch.keys.splice(Math.max(0, index - 1), 1)
    if (branch.children.length > 0) return
    if (path.length === 0) this.top = new Leaf()
    else this.shrink(path)
  }
}

registerClass('BTree', BTree)
registerClass('BTreeLeaf', Leaf)
registerClass('BTreeBranch', Branch)
