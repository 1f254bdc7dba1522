/**
 * What stands in a state besides MessagePack's own values: references, and specials, which say what MessagePack cannot say exactly.
 * Both are written as an extension of one byte of ours, followed by a value: that of a reference is [oid, class name], that of a special
 * [kind, …].
 */
import { cellOf } from './cell.ts'

/** The numbers of our extension types, chosen such that others will hardly choose them. */
export const REFERENCE = 82
export const SPECIAL = 83
/** What comes before the value of a reference, or of a special. */
export const FIXEXT_1 = 0xd4

/** Stands for a node of the graph until all are there. */
export class Node {
  readonly number: number
  constructor(number: number) {
    this.number = number
  }
}

/** A whole state, with its nodes in their places. */
export class Graph {
  readonly record: Record<string, unknown>
  constructor(record: Record<string, unknown>) {
    this.record = record
  }
}

/** The longest array with holes: what is a few bytes in a record must not keep whoever goes through it busy for minutes. */
export const MAX_SPARSE = 2 ** 24

/** What a special stands for, by its kind and what follows the kind in it. That may be any number of values, too many for arguments. */
const KINDS = {
  map: (entries: [unknown, unknown][]) => new Map(entries),
  set: (values: unknown[]) => new Set(values),
  'minus zero': () => -0,
  utf16: ([bytes]: [Buffer]) => asBytes(bytes).toString('utf16le'),
  bytes: ([bytes]: [Buffer]) => new Uint8Array(asBytes(bytes)),
  /** An array with holes. */
  sparse([length, ...entries]: [number, ...[number, unknown][]]) {
    if (!Number.isInteger(length) || length < 0 || length > MAX_SPARSE) throw new Error(`an array of length ${length}`)
    const array: unknown[] = []
    array.length = length
    for (const [index, value] of entries) {
      if (!Number.isInteger(index) || index < 0 || index >= length) throw new Error(`index ${index} of ${length}`)
      array[index] = value
    }
    return array
  },
  /** An object with keys that a MessagePack map cannot hold, or without a prototype. */
  entries([bare, ...entries]: [boolean, ...[string, unknown][]]) {
    const object = Object.fromEntries(entries)
    return bare ? Object.setPrototypeOf(object, null) : object
  },
  node: ([number]: [number]) => new Node(number),
  graph([record, nodes]: [unknown, unknown[]]) {
    if (!Array.isArray(nodes) || !isPlain(record)) throw new Error('not a graph')
    for (const each of [...nodes, record]) link(each, nodes)
    return new Graph(record)
  },
}
export type Kind = keyof typeof KINDS

/** The value that a special stands for. Throws if it is none. */
export function fromSpecial([kind, ...content]: unknown[]): unknown {
  if (typeof kind !== 'string' || !Object.hasOwn(KINDS, kind)) throw new Error(`unknown kind of value '${kind}'`)
  return (KINDS[kind as Kind] as (content: unknown[]) => unknown)(content)
}

function asBytes(value: unknown): Buffer {
  if (value instanceof Uint8Array) return Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  throw new Error('bytes expected')
}

/** Puts the nodes in the places of those that stand for them. */
function link(holder: unknown, nodes: unknown[]): void {
  const node = (value: unknown) => {
    if (!(value instanceof Node)) return value
    if (!Object.hasOwn(nodes, value.number)) throw new Error(`no node ${value.number}`)
    return nodes[value.number]
  }
  if (holder instanceof Map) {
    const entries = [...holder]
    holder.clear()
    for (const [key, value] of entries) holder.set(node(key), node(value))
  } else if (holder instanceof Set) {
    const values = [...holder]
    holder.clear()
    for (const value of values) holder.add(node(value))
  } else if (Array.isArray(holder) || isPlain(holder)) {
    const slots = holder as Record<string, unknown>
    for (const [key, value] of Object.entries(holder))
      if (value instanceof Node)
        Object.defineProperty(slots, key, { value: node(value), writable: true, enumerable: true, configurable: true })
  }
}

export function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || cellOf(value) !== undefined) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
