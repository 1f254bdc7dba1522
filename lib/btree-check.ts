/** Whether a BTree holds together: each node is sound, each key lies where it is looked for, and the tree counts them. */
import type { BTree } from './btree.ts'
import { compareKeys, type Key } from './btree-keys.ts'
import { Branch, type Node, problemOf } from './btree-nodes.ts'
import { messageOf, ObjectError } from './errors.ts'
import { pauses } from './pauses.ts'

/** A node, and the keys that belong into it: from `low` up to `high`, not included. */
interface Part {
  readonly node: Node
  readonly low: Key | undefined
  readonly high: Key | undefined
  readonly depth: number
}

/** No tree has so many levels: what has is in itself. */
const DEEPEST = 64

/**
 * Looks at all nodes; others run meanwhile.
 * @returns what is wrong; undefined if nothing is
 * @throws {ObjectError} if a node cannot be loaded
 */
export async function problemInTree(tree: BTree): Promise<string | undefined> {
  const pause = pauses()
  let entries = 0
  try {
    const pending: Part[] = [
      { node: (tree as unknown as { top: Node }).top, low: undefined, high: undefined, depth: 0 },
    ]
    for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
      const problem = problemOf(part.node) ?? problemOfPlace(part)
      if (problem !== undefined) return `node ${part.node._p_oid}: ${problem}`
      if (part.node instanceof Branch) pending.push(...partsOf(part.node, part))
      else entries += part.node.keys.length
      await pause()
    }
    return entries === tree.size ? undefined : `it has ${entries} entries and counts ${tree.size}`
  } catch (error) {
    if (error instanceof ObjectError) throw error
    return messageOf(error)
  }
}

function problemOfPlace({ node: { keys }, low, high, depth }: Part): string | undefined {
  if (depth > DEEPEST) return 'it is in itself'
  const [first, last] = [keys[0], keys.at(-1)]
  if (first === undefined || last === undefined) return undefined
  const fits =
    (low === undefined || compareKeys(low, first) <= 0) && (high === undefined || compareKeys(last, high) < 0)
  return fits ? undefined : 'it has keys that are not looked for in it'
}

const partsOf = ({ keys, children }: Branch, { low, high, depth }: Part): Part[] =>
  children.map((node, i) => ({ node, low: keys[i - 1] ?? low, high: keys[i] ?? high, depth: depth + 1 }))
