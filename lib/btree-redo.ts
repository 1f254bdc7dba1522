/**
 * Doing again what a transaction did to a BTree, on what another one has made of it meanwhile: for changes that the nodes cannot merge by
 * themselves, since entries have moved to other nodes, or nodes have gone.
 *
 * What the transaction did is the difference between the entries of the leaves that it changed, before and after: splitting moves entries
 * between leaves, and changes none. It can be done again if nobody else changed what is at its keys. The tree's counter is not a node, and is
 * merged as ever.
 */
import { isDeepStrictEqual } from 'node:util'
import { BTree } from './btree.ts'
import { compareKeys, type Key } from './btree-keys.ts'
import { isNode, Leaf } from './btree-nodes.ts'
import { type Cell, cellOf, type Jar, newGhost } from './cell.ts'
import { Counter } from './counter.ts'
import type { Oid } from './ids.ts'
import { attributesOf } from './object-reader.ts'
import { ObjectWriter } from './object-writer.ts'
import type { Persistent } from './persistent.ts'
import { asItStands, type Reference, referencesOf, unpickle } from './pickle.ts'
import { GONE, isGone, type RecordBody, type StoredRecord } from './record.ts'
import { classNamed } from './registry.ts'
import type { Change } from './storage/storage.ts'

/** Where the nodes of a tree are to be had. */
export interface Nodes {
  /** As the transaction saw them. */
  seen(oid: Oid, serial: number): RecordBody | undefined
  /** As they are now. */
  latest(oid: Oid): StoredRecord | undefined
  newOid(): Oid
  /** Is told of the key at which somebody else changed what is there. */
  conflict?(key: Key): void
}

type Entry = readonly [key: Key, value: unknown]
interface Step {
  readonly key: Key
  readonly before: Entry | undefined
  readonly after: Entry | undefined
}

/**
 * @param tree the tree's oid
 * @param changes the transaction's, of the nodes of that tree and of the tree itself
 * @returns changes that take their place; undefined if there is a conflict
 */
export function redone(tree: Oid, changes: readonly Change[], nodes: Nodes): readonly Change[] | undefined {
  try {
    const steps = stepsOf(tree, changes, nodes)
    const redo = new Redo(tree, nodes)
    return steps !== undefined && redo.take(steps) ? redo.changes() : undefined
  } catch {
    // something has gone, or its class is not known here
    return undefined
  }
}

function stepsOf(tree: Oid, changes: readonly Change[], nodes: Nodes): Step[] | undefined {
  const before: Entry[] = []
  const after: Entry[] = []
  for (const { oid, serial, record } of changes) {
    const old = serial === 0 ? GONE : nodes.seen(oid, serial)
    if (old === undefined) return undefined
    if (oid === tree) {
      // the attributes of a class that extends BTree
      if (isGone(old) || isGone(record) || !isDeepStrictEqual(withoutTop(old), withoutTop(record))) return undefined
      continue
    }
    before.push(...entriesOf(old))
    after.push(...entriesOf(record))
  }
  return differences(sorted(before), sorted(after))
}

/** @throws {Error} for what is no node */
function entriesOf({ className, state }: RecordBody): Entry[] {
  if (className === GONE.className || className === 'BTreeBranch') return []
  if (className !== 'BTreeLeaf') throw new Error(`${className} is no node`)
  const { keys, values } = unpickle(state, asItStands) as { keys: Key[]; values: unknown[] }
  return keys.map((key, i) => [key, values[i]])
}

function withoutTop({ state }: RecordBody): Record<string, unknown> {
  const { top, ...others } = unpickle(state, asItStands)
  return others
}

const sorted = (entries: Entry[]): Entry[] => entries.sort(([a], [b]) => compareKeys(a, b))

/** What makes one list of entries the other; both are in the order of their keys. */
function differences(before: readonly Entry[], after: readonly Entry[]): Step[] {
  const steps: Step[] = []
  for (let i = 0, j = 0; i < before.length || j < after.length; ) {
    const [old, now] = [before[i], after[j]]
    const order = old === undefined ? 1 : now === undefined ? -1 : compareKeys(old[0], now[0])
    if (order <= 0) i += 1
    if (order >= 0) j += 1
    if (order !== 0 || !isDeepStrictEqual(old, now))
      steps.push({
        key: (order < 0 ? old! : now!)[0],
        before: order <= 0 ? old : undefined,
        after: order >= 0 ? now : undefined,
      })
  }
  return steps
}

/** A jar that has the nodes of one tree as they are now. What the tree holds stays a reference. */
class Redo implements Jar {
  private readonly tree: Oid
  private readonly nodes: Nodes
  private readonly cells = new Map<Oid, Cell>()
  private readonly changed = new Set<Cell>()
  private readonly writer = new ObjectWriter(this, object => this.adopt(object))

  constructor(tree: Oid, nodes: Nodes) {
    this.tree = tree
    this.nodes = nodes
  }

  /** @returns false if somebody else changed what is at one of the keys */
  take(steps: readonly Step[]): boolean {
    const tree = this.ghost(this.tree, this.nodes.latest(this.tree)?.className ?? '')
    if (!(tree instanceof BTree)) return false
    const { get, has, set, delete: remove } = BTree.prototype
    for (const { key, before, after } of steps) {
      const isThere = has.call(tree, key)
      if (isThere !== (before !== undefined) || (isThere && !isDeepStrictEqual(get.call(tree, key), before?.[1]))) {
        this.nodes.conflict?.(key)
        return false
      }
      if (after === undefined) remove.call(tree, key)
      else set.call(tree, after[0], after[1])
    }
    return true
  }

  changes(): Change[] {
    const changes: Change[] = []
    // those that are adopted on the way come behind
    for (const cell of this.changed) {
      if (cell.proxy instanceof Counter) continue
      const { record } = this.writer.encode(cell)
      changes.push({
        oid: cell.oid,
        serial: cell.serial,
        record,
        references: referencesOf(record.state),
        within: this.tree,
      })
    }
    return changes
  }

  load(cell: Cell): void {
    const stored = this.nodes.latest(cell.oid)
    if (stored === undefined || isGone(stored)) throw new Error(`object ${cell.oid} has been removed`)
    const resolve = ({ oid, className }: Reference) => this.ghost(oid, className)
    const state = attributesOf(cell, stored, cell.proxy instanceof Leaf ? asItStands : resolve)
    cell.settle(state, stored.serial)
  }

  register(cell: Cell): void {
    this.changed.add(cell)
  }

  touch(): void {}
  examine(): void {}
  readCurrent(): void {}

  /** What the tree holds stays a reference. */
  object(reference: Reference): unknown {
    return isNode(reference.className) ? this.ghost(reference.oid, reference.className) : reference
  }

  private ghost(oid: Oid, className: string): Persistent {
    const known = this.cells.get(oid)
    if (known !== undefined) return known.proxy
    const entry = classNamed(className)
    if (entry === undefined) throw new Error(`class ${className} is not registered`)
    const cell = newGhost(entry.ctor.prototype, oid, this)
    this.cells.set(oid, cell)
    return cell.proxy
  }

  private adopt(object: Persistent): Cell {
    const cell = cellOf(object) as Cell
    cell.jar = this
    cell.oid = this.nodes.newOid()
    cell.changed = true
    this.changed.add(cell)
    return cell
  }
}
