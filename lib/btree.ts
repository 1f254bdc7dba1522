/**
 * An ordered mapping that is stored in pieces, so that a large one is never loaded or written whole (BTrees' OOBTree).
 *
 * A B+ tree: entries lie in leaves, branches lead to them (lib/btree-nodes.ts). Each node is a persistent object of its own. What can be a
 * key, and the order of keys, is said in lib/btree-keys.ts. It may be changed while it is walked through.
 *
 * Concurrent transactions that change different keys do not conflict: their changes of one node are merged (lib/btree-nodes.ts), and where
 * that cannot be, since entries have moved or nodes have gone, what the second one did is done again on what the first one left
 * (lib/btree-redo.ts). Two transactions that set the same key always conflict.
 */
import { checkIterable } from './arguments.ts'
import {
  checkedKey,
  compareKeys,
  givenKey,
  indexOfKey,
  type Key,
  lowerBound,
  type Range,
  rangeOf,
} from './btree-keys.ts'
import {
  BRANCH,
  Branch,
  type BranchState,
  branchOf,
  branchState,
  childAt,
  childFor,
  isNodeObject,
  LEAF,
  Leaf,
  type LeafState,
  leafOf,
  leafState,
  type Node,
  type Piece,
} from './btree-nodes.ts'
import { isInner } from './cell.ts'
import { Counter } from './counter.ts'
import { follow, handOut, ownState, Persistent } from './persistent.ts'
import { Reference } from './reference.ts'
import { registerClass } from './registry.ts'
import { EXPLICIT, SOUND, type State } from './state.ts'

type Step = { branch: Branch; index: number }

/** An ordered mapping from keys to any values that can be stored. */
export class BTree<V = unknown> extends Persistent {
  get [EXPLICIT](): true {
    return true
  }

  [SOUND]({ top, count }: State): boolean {
    return isNodeObject(top) && count instanceof Counter
  }

  /** Of the tree and of its nodes: what their changes belong to (lib/btree-redo.ts). */
  declare _v_tree?: BTree<V>
  private top: Node = new Leaf()
  private readonly count = new Counter()

  /**
   * A tree of these entries, with full leaves, in about linear time if they come in the order of their keys; otherwise they are sorted first.
   * Of entries with the same key the last one counts.
   * @throws {ObjectError} INVALID_ARGUMENT for what cannot be a key
   */
  static from<V>(entries: Iterable<readonly [Key, V]>): BTree<V> {
    const tree = new BTree<V>()
    const { keys, values } = inOrder(entries)
    let nodes: Piece[] = []
    for (let start = 0; start < keys.length; start += LEAF) {
      const node = leafOf(keys.slice(start, start + LEAF), values.slice(start, start + LEAF))
      nodes.push({ key: keys[start]!, node })
    }
    while (nodes.length > 1) nodes = Array.from({ length: Math.ceil(nodes.length / BRANCH) }, (_, i) => over(nodes, i))
    if (nodes[0] !== undefined) tree.top = nodes[0].node
    tree.count.change(keys.length)
    return tree
  }

  /** The number of entries, known without looking at them. */
  get size(): number {
    return this.count.value
  }

  /** @returns the value, or undefined */
  get(key: Key): V | undefined {
    const leaf = this.leafFor(checkedKey(key))
    const index = indexOfKey(leafState(leaf).keys, key)
    return index < 0 ? undefined : this.given(leaf, index)
  }

  has(key: Key): boolean {
    return indexOfKey(leafState(this.leafFor(checkedKey(key))).keys, key) >= 0
  }

  /** Sets the value of `key`. @returns true if the key is new */
  set(key: Key, value: V): boolean {
    const own = checkedKey(key)
    const { leaf, path } = this.find(own)
    const { keys, values } = this.change(leaf) as unknown as LeafState
    const index = lowerBound(keys, own)
    const isNew = index === keys.length || compareKeys(keys[index]!, own) !== 0
    if (isNew) keys.splice(index, 0, own)
    values.splice(index, isNew ? 0 : 1, handOut(leaf, value))
    if (isNew) this.count.change(1)
    this.grow(path, leaf.split())
    return isNew
  }

  /** @returns true if the key was there */
  delete(key: Key): boolean {
    const { leaf, path } = this.find(checkedKey(key))
    const index = indexOfKey(leafState(leaf).keys, key)
    if (index < 0) return false
    const { keys, values } = this.change(leaf) as unknown as LeafState
    keys.splice(index, 1)
    values.splice(index, 1)
    this.count.change(-1)
    if (keys.length === 0) this.shrink(path)
    return true
  }

  /** Makes the transaction rely on the keys: if another one adds or removes one first, the commit fails with READ_CONFLICT. */
  readCurrentKeys(): void {
    this._p_jar?.readCurrent(this.count)
  }

  /** Removes all entries. It conflicts with whoever adds or removes one meanwhile. */
  clear(): void {
    this.readCurrentKeys()
    for (const leaf of leavesOf(this.top)) {
      this.change(leaf)
      leaf.keys = []
      leaf.values = []
    }
    this.count.change(-this.count.value)
    if (this.top instanceof Branch) this.replaceTop(new Leaf())
  }

  /** The first key; or the first one not before `from`. Undefined if there is none. */
  minKey(from?: Key): Key | undefined {
    return this.keys({ from, limit: 1 }).next().value
  }

  /** The last key; or the last one not after `to`. Undefined if there is none. */
  maxKey(to?: Key): Key | undefined {
    return this.keys({ to, includeTo: true, reverse: true, limit: 1 }).next().value
  }

  /** Keys in order, from `from` (included) up to `to` (not included); or those of a range. */
  keys(range: Range): Generator<Key, undefined>
  keys(from?: Key, to?: Key): Generator<Key, undefined>
  *keys(from?: Key | Range, to?: Key): Generator<Key, undefined> {
    for (const [, , key] of this.places(rangeOf(from, to))) yield givenKey(key)
  }

  values(range: Range): Generator<V, undefined>
  values(from?: Key, to?: Key): Generator<V, undefined>
  *values(from?: Key | Range, to?: Key): Generator<V, undefined> {
    for (const [leaf, index] of this.places(rangeOf(from, to))) yield this.given(leaf, index)
  }

  entries(range: Range): Generator<[Key, V], undefined>
  entries(from?: Key, to?: Key): Generator<[Key, V], undefined>
  *entries(from?: Key | Range, to?: Key): Generator<[Key, V], undefined> {
    for (const [leaf, index, key] of this.places(rangeOf(from, to))) yield [givenKey(key), this.given(leaf, index)]
  }

  [Symbol.iterator](): Generator<[Key, V], undefined> {
    return this.entries()
  }

  /** Where the entries lie. The tree may be changed meanwhile: each leaf is found anew, and so is an entry that is no longer in its place. */
  private *places(range: Range): Generator<[leaf: Leaf, index: number, key: Key]> {
    const { from, to, includeFrom = true, includeTo = false, reverse = false, limit = Number.POSITIVE_INFINITY } = range
    const within = (key: Key) => {
      const [low, high] = [
        from === undefined ? 1 : compareKeys(key, from),
        to === undefined ? -1 : compareKeys(key, to),
      ]
      return (low > 0 || (low === 0 && includeFrom)) && (high < 0 || (high === 0 && includeTo))
    }
    let left = limit
    let start = reverse ? to : from
    let inside = true
    for (;;) {
      const { leaf, next } = reverse ? this.leafUpTo(start, inside) : this.leafFrom(start)
      const keys = [...leafState(leaf).keys]
      for (let n = 0; n < keys.length; n++) {
        const i = reverse ? keys.length - 1 - n : n
        const key = keys[i]!
        if (!within(key)) continue
        if (left-- < 1) return
        const isThere = leafState(leaf).keys[i] === key
        const place = isThere ? leaf : this.leafFor(key)
        const index = isThere ? i : indexOfKey(leafState(place).keys, key)
        if (index >= 0) yield [place, index, key]
      }
      if (next === undefined || left < 1) return
      const end = reverse ? from : to
      if (end !== undefined && (reverse ? compareKeys(next, end) <= 0 : compareKeys(next, end) > 0)) return
      start = next
      inside = false
    }
  }

  /** The leaf for `from` (or the first one), and the lower bound of the next. */
  private leafFrom(from: Key | undefined): { leaf: Leaf; next: Key | undefined } {
    let next: Key | undefined
    let node = this.top
    while (node instanceof Branch) {
      const { keys } = branchState(node)
      const index: number = from === undefined ? 0 : childFor(keys, from)
      next = keys[index] ?? next
      node = childAt(node, index)
    }
    return { leaf: node, next }
  }

  /** The leaf for the keys before `to` (with `inside` for `to` itself; without `to` the last one), and its lower bound. */
  private leafUpTo(to: Key | undefined, inside: boolean): { leaf: Leaf; next: Key | undefined } {
    let next: Key | undefined
    let node = this.top
    while (node instanceof Branch) {
      const { keys } = branchState(node)
      const index: number = to === undefined ? keys.length : inside ? childFor(keys, to) : lowerBound(keys, to)
      next = keys[index - 1] ?? next
      node = childAt(node, index)
    }
    return { leaf: node, next }
  }

  private leafFor(key: Key): Leaf {
    let node = this.top
    while (node instanceof Branch) node = childAt(node, childFor(branchState(node).keys, key))
    return node
  }

  private find(key: Key): { leaf: Leaf; path: Step[] } {
    const path: Step[] = []
    let node = this.top
    while (node instanceof Branch) {
      const index = childFor(branchState(node).keys, key)
      path.push({ branch: node, index })
      node = childAt(node, index)
    }
    return { leaf: node, path }
  }

  /** A value to give away. What is inside it may be changed, which changes the leaf. */
  private given(leaf: Leaf, index: number): V {
    const { values } = leafState(leaf)
    const stands = values[index]
    if (stands instanceof Reference) {
      const object = follow(leaf, stands)
      if (!Object.isFrozen(values)) values[index] = object
      return object as V
    }
    if (isInner(stands)) leaf._v_tree = this
    return handOut(leaf, stands) as V
  }

  /** To be called before a node is changed. @returns its state, bare */
  private change(node: Node): State {
    node._p_changed = true
    node._v_tree = this
    return ownState(node)
  }

  private replaceTop(node: Node): void {
    this._v_tree = this
    node._v_tree = this
    this.top = node
  }

  /** Hangs what was split off a node into its parent, and so on upward. */
  private grow(path: Step[], pieces: readonly Piece[]): void {
    if (pieces.length === 0) return
    for (const { node } of pieces) node._v_tree = this
    const keys = pieces.map(({ key }) => key)
    const nodes = pieces.map(({ node }) => node)
    const step = path.pop()
    if (step === undefined) {
      this.replaceTop(branchOf(keys, [this.top, ...nodes]))
      return
    }
    const { branch, index } = step
    const state = this.change(branch) as unknown as BranchState
    state.keys.splice(index, 0, ...keys)
    state.children.splice(index + 1, 0, ...nodes)
    this.grow(path, branch.split())
  }

  /** Takes an empty node out of its parent, and a parent that has become empty out of its own. */
  private shrink(path: Step[]): void {
    const step = path.pop()
    if (step === undefined) return
    const { branch, index } = step
    const { keys, children } = this.change(branch) as unknown as BranchState
    children.splice(index, 1)
    keys.splice(Math.max(0, index - 1), 1)
    if (children.length > 0) return
    if (path.length === 0) this.replaceTop(new Leaf())
    else this.shrink(path)
  }
}

function* leavesOf(node: Node): Generator<Leaf> {
  if (node instanceof Leaf) yield node
  else for (const child of node.children) yield* leavesOf(child)
}

/** A branch over the `number`th group of nodes. */
function over(nodes: readonly Piece[], number: number): Piece {
  const group = nodes.slice(number * BRANCH, (number + 1) * BRANCH)
  const keys = group.slice(1).map(({ key }) => key)
  const node = branchOf(
    keys,
    group.map(({ node }) => node),
  )
  return { key: group[0]!.key, node }
}

/** Keys in order, each once, and their values. */
function inOrder<V>(entries: Iterable<readonly [Key, V]>): { keys: Key[]; values: V[] } {
  let list = Array.from(checkIterable('BTree.from', entries), (entry): [Key, V] => {
    const [key, value] = checkIterable('BTree.from: an entry', entry)
    return [checkedKey(key), value]
  })
  const follows = ([key]: [Key, V], i: number) => i === 0 || compareKeys(list[i - 1]![0], key) < 0
  if (!list.every(follows)) {
    list.sort(([a], [b]) => compareKeys(a, b))
    list = list.filter(([key], i) => i + 1 === list.length || compareKeys(key, list[i + 1]![0]) !== 0)
  }
  return { keys: list.map(([key]) => key), values: list.map(([, value]) => value) }
}

registerClass('BTree', BTree)
