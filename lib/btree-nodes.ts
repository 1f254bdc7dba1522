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
import { bareState, follow, handOut, ownState, Persistent } from './persistent.ts'
import { Reference } from './reference.ts'
import { registerClass, type StateRecord } from './registry.ts'
import { BARE, EXPLICIT, SOUND, type State } from './state.ts'

/** The most entries in a leaf. Concurrent insertions that merge may leave more, until the next one. */
export const LEAF = 64
/** The most children of a branch. */
export const BRANCH = 128

export type Node = Leaf | Branch
/** Whether records know nodes by that name. */
export const isNode = (className: string): boolean => className === 'BTreeLeaf' || className === 'BTreeBranch'
export const isNodeObject = (value: unknown): value is Node => value instanceof Leaf || value instanceof Branch

/** A leaf's state as it is loaded (BARE): what stands for a value is to be asked for by `follow`. */
export interface LeafState {
  keys: Key[]
  values: unknown[]
  splits: number
  cut?: Key
}
/** A branch's, as bare: what stands for a child is to be asked for by `childAt`. */
export interface BranchState {
  keys: Key[]
  children: unknown[]
  splits: number
  cut?: Key
}
export const leafState = (leaf: Leaf): LeafState => bareState(leaf) as unknown as LeafState
export const branchState = (branch: Branch): BranchState => bareState(branch) as unknown as BranchState

export const childAt = (branch: Branch, index: number): Node =>
  follow(branch, branchState(branch).children[index]) as Node

/** The index of the child in which `key` belongs. */
export function childFor(keys: readonly Key[], key: Key): number {
  const index = lowerBound(keys, key)
  return index < keys.length && compareKeys(keys[index]!, key) === 0 ? index + 1 : index
}

/** A node that was split off another, and its lowest key. */
export interface Piece {
  readonly key: Key
  readonly node: Node
}

export class Leaf extends Persistent implements ConflictResolver {
  get [EXPLICIT](): true {
    return true
  }

  get [BARE](): true {
    return true
  }

  [SOUND]({ keys, values }: State): boolean {
    return Array.isArray(keys) && Array.isArray(values)
  }

  keys: Key[] = []
  values: unknown[] = []
  splits = 0
  declare cut?: Key
  /** The tree, where the node was changed. */
  declare _v_tree?: Persistent

  /** Gives all but its lowest keys away if there are too many. It has been marked changed. */
  split(): Piece[] {
    const { keys, values } = ownState(this) as unknown as LeafState
    const all = keys.length
    if (all <= LEAF) return []
    const size = Math.ceil(all / Math.ceil(all / (LEAF / 2 + 1)))
    const pieces: Piece[] = []
    for (let start = size; start < all; start += size) {
      const node = leafOf(
        keys.slice(start, start + size),
        values.slice(start, start + size).map(value => follow(this, value)),
      )
      pieces.push({ key: keys[start]!, node })
    }
    keys.length = size
    values.length = size
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

  get [BARE](): true {
    return true
  }

  [SOUND]({ keys, children }: State): boolean {
    if (!Array.isArray(keys) || !Array.isArray(children) || children.length !== keys.length + 1) return false
    return children.every(each => (each instanceof Reference ? isNode(each.className) : isNodeObject(each)))
  }

  keys: Key[] = []
  children: Node[] = []
  splits = 0
  declare cut?: Key
  /** The tree, where the node was changed. */
  declare _v_tree?: Persistent

  /** Gives the upper half of its children away if there are too many. It has been marked changed. */
  split(): Piece[] {
    const { keys, children } = ownState(this) as unknown as BranchState
    if (children.length <= BRANCH) return []
    const half = keys.length >>> 1
    const node = branchOf(
      keys.splice(half + 1),
      children.splice(half + 1).map(child => follow(this, child) as Node),
    )
    const cut = keys.pop()!
    this.splits += 1
    this.cut = cut
    return [{ key: cut, node }]
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

/** A new leaf of these entries. */
export function leafOf(keys: Key[], values: unknown[]): Leaf {
  const leaf = new Leaf()
  leaf.keys = keys
  leaf.values = values
  for (const value of values) handOut(leaf, value)
  return leaf
}

/** A new branch over these nodes. */
export function branchOf(keys: Key[], children: Node[]): Branch {
  const branch = new Branch()
  branch.keys = keys
  branch.children = children
  return branch
}

/** What is wrong with a node by itself; undefined if nothing is. */
export function problemOf(node: Node): string | undefined {
  const { keys } = node
  const places: unknown = node instanceof Leaf ? node.values : node.children
  if (!Array.isArray(keys) || !Array.isArray(places)) return 'it is no node of a tree'
  if (places.length !== keys.length + (node instanceof Leaf ? 0 : 1)) return 'it has more or fewer keys than places'
  if (node instanceof Branch && !places.every(isNodeObject)) return 'it leads to something else than nodes'
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
