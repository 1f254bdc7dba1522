/**
 * What differs between two states of the database, object by object and property by property.
 *
 * What a folder consists of inside (the nodes of its BTree) is left out where it says nothing but that a child was added, moved or removed:
 * the child says that itself.
 */
import { isDeepStrictEqual } from 'node:util'
import { BTree, type Connection, Folder, ObjectError, Persistent } from '../objects/index.ts'
import { isInTree, nameOf } from './places.ts'
import { typeOf } from './types.ts'
import { attributesOf, plain, type Shown } from './values.ts'

export interface PropertyChange {
  readonly name: string
  /** Null where there was no such attribute, as `{ type, value }` otherwise. */
  readonly before: Shown | null
  readonly after: Shown | null
}

export interface ObjectChange {
  readonly oid: number
  readonly type: string
  /** Where it is, or was if it is gone. */
  readonly path: string
  readonly change: 'added' | 'removed' | 'moved' | 'changed'
  /** Of one that was moved: where it was. */
  readonly from?: string
  readonly properties: readonly PropertyChange[]
}

interface Pair {
  readonly oid: number
  readonly before: Persistent | undefined
  readonly after: Persistent | undefined
}

/**
 * @param oids which objects may differ
 * @param all the nodes of BTrees too
 * @param pause is awaited between objects
 */
export async function differences(
  oids: readonly number[],
  before: Connection,
  after: Connection,
  { all, pause }: { readonly all: boolean; readonly pause: () => Promise<void> },
): Promise<ObjectChange[]> {
  const pairs: Pair[] = []
  for (const oid of oids) {
    await pause()
    pairs.push({ oid, before: lookUp(before, oid), after: lookUp(after, oid) })
  }
  const inside = all ? new Set<number>() : partsOf(pairs)
  const changes: ObjectChange[] = []
  for (const pair of pairs) {
    await pause()
    const change = inside.has(pair.oid) ? undefined : changeOf(pair, all)
    if (change !== undefined) changes.push(change)
  }
  return changes
}

function lookUp(connection: Connection, oid: number): Persistent | undefined {
  try {
    return connection.get(oid)
  } catch (error) {
    if (error instanceof ObjectError && error.code === 'OBJECT_NOT_FOUND') return undefined
    throw error
  }
}

/** The oids of what folders consist of: of those that changed, and of those that hold something that did. */
function partsOf(pairs: readonly Pair[]): Set<number> {
  const found = new Set<number>()
  for (const object of pairs.flatMap(({ before, after }) => [before, after]))
    for (const each of [object, object?.__parent__]) {
      if (!(each instanceof Folder)) continue
      const children: unknown = Reflect.get(each, 'children')
      if (!(children instanceof BTree)) continue
      for (const part of [children, Reflect.get(children, 'count')])
        if (part instanceof Persistent && part._p_oid !== undefined) found.add(part._p_oid)
    }
  return found
}

function changeOf({ oid, before, after }: Pair, all: boolean): ObjectChange | undefined {
  const object = after ?? before
  if (object === undefined) return undefined
  const type = typeOf(object)
  if (type === 'BTreeBranch' && !all) return undefined
  const properties = propertyChanges(shownOf(before, all), shownOf(after, all))
  if (type === 'BTreeLeaf' && !all && properties.length === 0) return undefined
  const was = before !== undefined && isInTree(before) ? before.physicalPath : undefined
  const is = after !== undefined && isInTree(after) ? after.physicalPath : undefined
  const path = is ?? was ?? nameOf(object)
  const change = changeBetween(before, after, was, is)
  if (change === 'changed' && properties.length === 0) return undefined
  return { oid, type, path, change, ...(change === 'moved' && was !== undefined && { from: was }), properties }
}

function changeBetween(
  before: Persistent | undefined,
  after: Persistent | undefined,
  was: string | undefined,
  is: string | undefined,
): ObjectChange['change'] {
  if (before === undefined || (was === undefined && is !== undefined)) return 'added'
  if (after === undefined || (was !== undefined && is === undefined)) return 'removed'
  return was === is ? 'changed' : 'moved'
}

/** An object's attributes; of a node of a BTree its entries, without those that are objects of the tree. */
function shownOf(object: Persistent | undefined, all: boolean): Record<string, Shown> {
  if (object === undefined) return {}
  if (typeOf(object) !== 'BTreeLeaf' || all) return attributesOf(object)
  const { keys, values } = object as unknown as { keys: unknown[]; values: unknown[] }
  const entries = keys.flatMap((key, i): [string, Shown][] => {
    const value = values[i]
    if (value instanceof Persistent && value.__name__ !== undefined) return []
    return [[`[${JSON.stringify(plain(key))}]`, { type: 'entry', value: plain(value) }]]
  })
  return Object.fromEntries(entries)
}

function propertyChanges(before: Record<string, Shown>, after: Record<string, Shown>): PropertyChange[] {
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap(name => {
    const was = Object.hasOwn(before, name) ? before[name]! : null
    const is = Object.hasOwn(after, name) ? after[name]! : null
    return isDeepStrictEqual(was, is) ? [] : [{ name, before: was, after: is }]
  })
}
