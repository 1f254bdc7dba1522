/**
 * The nodes of a BTree, and how two transactions' changes of one node are merged.
 *
 * A leaf holds entries, a branch leads to leaves or branches. A node that has become too large keeps its lowest keys and gives the others to
 * new nodes; it remembers how often that happened (`splits`) and at which key last (`cut`). Changes of two transactions to one
 * node merge when they concern different keys and, if one of them split it, lie below the cut: what lies above belongs to a new
 * node that a resolver does not see. A node that one of them emptied has left the tree, so nothing is merged into it. What does not merge so
 * is done again as a whole (lib/btree-redo.ts).
 */
import { isDeepStrictEqual } from 'node:util'
import { checkedKey, compareKeys, indexOfKey, type Key, lowerBound } from './btree-keys.ts'
import { messageOf } from './errors.ts'
import type { ConflictResolver } from './merge.ts'
import { EXPLICIT, handOut, Persistent } from './persistent.ts'
import { registerClass, type StateRecord } from './registry.ts'

/** The most entries in a leaf. Concurrent insertions that merge may leave more, until the next one. */
export const LEAF = 64
/** The most children of a branch. */
export const BRANCH = 128

export type Node = Leaf | Branch
/** A node that was split off another, and its lowest key. */
export interface Piece {
  readonly key: Key
  readonly node: Node
}

export class Leaf extends Persistent implements ConflictResolver {
  get [EXPLICIT](): true {
    return true
  }

  keys: Key[] = []
  values: unknown[] = []
  splits = 0
  declare cut?: Key
  /** The tree, where the node was changed. */
  declare _v_tree?: Persistent

  /** Gives all but its lowest keys away if there are too many. */
  split(): Piece[] {
    const all = this.keys.length
    if (all <= LEAF) return []
    const size = Math.ceil(all / Math.ceil(all / (LEAF / 2 + 1)))
    const pieces: Piece[] = []
    for (let start = size; start < all; start += size) {
      const node = new Leaf()
      node.keys = this.keys.slice(start, start + size)
      node.values = this.values.slice(start, start + size)
      for (const value of node.values) handOut(node, value)
      pieces.push({ key: node.keys[0]!, node })
    }
    this.keys.length = size
    this.values.length = size
    this.splits += 1
    this.cut = pieces[0]!.key
    return pieces
  }

  _p_resolveConflict(...states: [old: StateRecord, committed: StateRecord, mine: StateRecord]): StateRecord {
    const [old, theirs, ours] = states as unknown as Sides
    if (theirs.keys.length === 0 || ours.keys.length === 0) throw new Error('the leaf was emptied')
    const merged = merge(old, theirs, ours)
    if (merged.keys.length === 0) throw new Error('the leaf would be empty')
    return { ...states[1], ...merged }
  }
}

/** `children[i]` holds the keys below `keys[i]`, the last child all others. */
export class Branch extends Persistent implements ConflictResolver {
  get [EXPLICIT](): true {
    return true
  }

  keys: Key[] = []
  children: Node[] = []
  splits = 0
  declare cut?: Key
  /** The tree, where the node was changed. */
  declare _v_tree?: Persistent

  /** The index of the child in which `key` belongs. */
  childFor(key: Key): number {
    const index = lowerBound(this.keys, key)
    return index < this.keys.length && compareKeys(this.keys[index]!, key) === 0 ? index + 1 : index
  }

  /** Gives the upper half of its children away if there are too many. */
  split(): Piece[] {
    if (this.children.length <= BRANCH) return []
    const node = new Branch()
    const half = this.keys.length >>> 1
    node.keys = this.keys.splice(half + 1)
    node.children = this.children.splice(half + 1)
    this.splits += 1
    this.cut = this.keys.pop()!
    return [{ key: this.cut, node }]
  }

  _p_resolveConflict(...states: [old: StateRecord, committed: StateRecord, mine: StateRecord]): StateRecord {
    const firsts = states.map(({ children }) => (children as Node[])[0])
    const [old, theirs, ours] = states.map(
      state => ({ ...state, values: (state.children as Node[]).slice(1) }) as unknown as Side,
    ) as Sides
    if (firsts[1] === undefined || firsts[2] === undefined) throw new Error('the branch was emptied')
    if (firsts[0] !== firsts[1] && firsts[0] !== firsts[2]) throw new Error('both changed the first child')
    const { values, ...merged } = merge(old, theirs, ours)
    const first = firsts[0] === firsts[1] ? firsts[2] : firsts[1]
    return { ...states[1], ...merged, children: [first, ...values] }
  }
}

/** What is wrong with a node by itself; undefined if nothing is. */
export function problemOf(node: Node): string | undefined {
  const { keys } = node
  const places: unknown = node instanceof Leaf ? node.values : node.children
  if (!Array.isArray(keys) || !Array.isArray(places)) return 'it is no node of a tree'
  if (places.length !== keys.length + (node instanceof Leaf ? 0 : 1)) return 'it has more or fewer keys than places'
  if (node instanceof Branch && !places.every(each => each instanceof Leaf || each instanceof Branch))
    return 'it leads to something else than nodes'
  try {
    keys.forEach(checkedKey)
  } catch (error) {
    return messageOf(error)
  }
  return keys.every((key, i) => i === 0 || compareKeys(keys[i - 1]!, key) < 0) ? undefined : 'its keys are in disorder'
}

interface Side {
  readonly keys: readonly Key[]
  readonly values: readonly unknown[]
  readonly splits: number
  readonly cut?: Key
}
type Sides = [old: Side, theirs: Side, ours: Side]

function merge(old: Side, theirs: Side, ours: Side): Side {
  const cutters = [theirs, ours].filter(side => side.splits !== old.splits)
  if (cutters.length > 1) throw new Error('both split it')
  const [cutter] = cutters
  const keys: Key[] = []
  const values: unknown[] = []
  for (const key of new Set([...old.keys, ...theirs.keys, ...ours.keys].toSorted(compareKeys))) {
    if (keys.length > 0 && compareKeys(keys.at(-1)!, key) === 0) continue
    const side = keeper(key)
    const index = indexOfKey(side.keys, key)
    if (index < 0) continue
    keys.push(side.keys[index]!)
    values.push(side.values[index])
  }
  const { splits, cut } = cutter ?? theirs
  return { keys, values, splits, ...(cut !== undefined && { cut }) }

  /** The side that says what is at `key`. */
  function keeper(key: Key): Side {
    if (cutter?.cut !== undefined && compareKeys(key, cutter.cut) >= 0) {
      const other = cutter === ours ? theirs : ours
      if (!same(old, other, key)) throw new Error(`${key} has moved to another node`)
      return cutter
    }
    if (same(old, ours, key)) return theirs
    if (same(old, theirs, key)) return ours
    throw new Error(`both changed ${key}`)
  }
}

function same(a: Side, b: Side, key: Key): boolean {
  const [i, j] = [indexOfKey(a.keys, key), indexOfKey(b.keys, key)]
  return i < 0 || j < 0 ? i === j : isDeepStrictEqual(a.values[i], b.values[j])
}

registerClass('BTreeLeaf', Leaf)
registerClass('BTreeBranch', Branch)
