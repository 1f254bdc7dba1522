/**
 * The state of one persistent object, to bytes and back (ZODB: serialize).
 *
 * Format: one MessagePack map from attribute names to values. Strings, finite numbers, booleans, null, undefined, bigints, dates,
 * arrays, plain objects, Buffers and typed arrays are MessagePack's and msgpackr's own. Two extension types are ours:
 *
 *   82  reference   [oid, class name]: another persistent object
 *   83  special     [kind, …]: what MessagePack cannot say exactly, see KINDS below
 *
 * Nothing in a record is code, and none of its names is followed as one: a class is known by the name it was registered under.
 * A state is encoded as a tree; where an inner value is shared or contains itself, the whole state is a `graph` instead: a list of all
 * arrays, objects, Maps, Sets …, in which `node` stands for the one with that number. The same state always gives the same bytes.
 */
import { addExtension, Packr } from 'msgpackr'
import { messageOf, ObjectError } from './errors.ts'
import { cellOf, type Oid, type Persistent, type State } from './persistent.ts'

/** A reference as it stands in a record. Only states that are merged, not loaded, hold any. */
export class Reference {
  readonly oid: Oid
  readonly className: string
  constructor(oid: Oid, className: string) {
    this.oid = oid
    this.className = className
  }
}

/** Where in a state a value was met. */
export interface Place {
  /** The attribute path, as `items[3].price`. */
  readonly path: string
}
/** Gives the reference to store for `object`. */
export type Refer = (object: Persistent, place: Place) => Reference
/** Gives the object that a reference stands for. */
export type Resolve = (reference: Reference) => unknown

/** What a special stands for, by its kind and what follows the kind in it. That may be any number of values, too many for arguments. */
const KINDS = {
  map: (entries: [unknown, unknown][]) => new Map(entries),
  set: (values: unknown[]) => new Set(values),
  'minus zero': () => -0,
  utf16: ([bytes]: [Buffer]) => asBytes(bytes).toString('utf16le'),
  bytes: ([bytes]: [Buffer]) => new Uint8Array(asBytes(bytes)),
  /** An array with holes. */
  sparse([length, ...entries]: [number, ...[number, unknown][]]) {
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
  node([number]: [number]) {
    loose += 1
    return new Node(number)
  },
  graph([nodes, record]: [unknown[], unknown]) {
    if (!Array.isArray(nodes) || !isPlain(record)) throw new Error('not a graph')
    for (const each of [...nodes, record]) link(each, nodes)
    loose = 0
    return new Graph(record)
  },
}
type Kind = keyof typeof KINDS

class Special {
  readonly content: [Kind, ...unknown[]]
  constructor(kind: Kind, content: readonly unknown[]) {
    this.content = [kind, ...content]
  }
}

/** Stands for a node of the graph until all are there. */
class Node {
  readonly number: number
  constructor(number: number) {
    this.number = number
  }
}

/** A whole state, with its nodes in their places. */
class Graph {
  readonly record: Record<string, unknown>
  constructor(record: Record<string, unknown>) {
    this.record = record
  }
}

/** How many nodes have been read that no graph has put in their places yet. */
let loose = 0

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

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || cellOf(value) !== undefined) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

let resolve: Resolve = reference => reference

/** The numbers of our extension types, chosen such that others will hardly choose them. */
export const REFERENCE = 82
export const SPECIAL = 83

function registerExtensions(): void {
  addExtension({
    Class: Reference,
    type: REFERENCE,
    write: (reference: Reference) => [reference.oid, reference.className],
    read: ([oid, className]: [Oid, string]) => resolve(new Reference(oid, className)),
  })
  addExtension({ Class: Special, type: SPECIAL, write: (special: Special) => special.content, read: readSpecial })
}
registerExtensions()

function readSpecial([kind, ...content]: [Kind, ...unknown[]]): unknown {
  if (!Object.hasOwn(KINDS, kind)) throw new Error(`unknown kind of value '${kind}'`)
  return (KINDS[kind] as (content: unknown[]) => unknown)(content)
}

const packr = new Packr({
  useRecords: false,
  moreTypes: true,
  structuredClone: false,
  int64AsType: 'bigint',
  useBigIntExtension: true,
  copyBuffers: true,
})

const SAMPLE = packr.pack({ reference: new Reference(1, ''), special: new Special('minus zero', []) })

/**
 * Makes sure that our extension types are ours: msgpackr has one table of them for the whole process, and anything in it may have taken
 * a number since.
 */
export function claimExtensions(): void {
  const before = resolve
  resolve = reference => reference
  try {
    const { reference, special } = packr.unpack(SAMPLE) as { reference: unknown; special: unknown }
    if (reference instanceof Reference && Object.is(special, -0)) return
  } catch {
    // theirs cannot make anything of it
  } finally {
    resolve = before
  }
  registerExtensions()
}

/**
 * @param state attributes; those that begin with `_v_` are left out
 * @param owner what the state belongs to; its `toString` is used in messages
 * @throws {ObjectError} INVALID_VALUE naming the attribute path; whatever `refer` throws
 */
export function pickle(state: State, refer: Refer, owner: unknown): Buffer {
  const tree = new Pickler(refer, owner, false)
  try {
    return packr.pack(tree.attributes(state))
  } catch (error) {
    if (error !== SHARED) throw error
    return packr.pack(new Pickler(refer, owner, true).attributes(state))
  }
}

/**
 * @throws {ObjectError} DATABASE_CORRUPT if the bytes are not a state
 */
export function unpickle(bytes: Uint8Array, resolver: Resolve): Record<string, unknown> {
  const before = resolve
  resolve = resolver
  loose = 0
  try {
    const record: unknown = packr.unpack(bytes)
    if (loose > 0) throw new Error('a node outside of a graph')
    if (!isPlain(record)) throw new Error('it holds no attributes')
    const graph = record['']
    return graph instanceof Graph ? graph.record : record
  } catch (error) {
    if (error instanceof ObjectError) throw error
    throw new ObjectError('DATABASE_CORRUPT', `a record cannot be decoded: ${messageOf(error)}`, { cause: error })
  } finally {
    resolve = before
  }
}

/** The oids that a state refers to, each once. */
export function referencesOf(state: Uint8Array): Oid[] {
  const oids = new Set<Oid>()
  unpickle(state, ({ oid }) => void oids.add(oid))
  return [...oids]
}

/** The most keys that a MessagePack map of msgpackr's has. */
const MAX_KEYS = 0xffff
/** How deep values may be nested: what could be stored must be loaded on a much fuller stack. */
const MAX_DEPTH = 200
const SHARED = new Error('an inner value is met twice')
const AS_THEY_ARE = new Set<unknown>(
  [
    ...[
      Date,
      Buffer,
      Int8Array,
      Uint8ClampedArray,
      Int16Array,
      Uint16Array,
      Int32Array,
      Uint32Array,
      Float32Array,
      Float64Array,
    ],
    ...[BigInt64Array, BigUint64Array, DataView, ArrayBuffer],
  ].map(each => each.prototype),
)

/**
 * One walk through one state: checks every value and replaces what MessagePack cannot say. Scalars and arrays of them are passed on as they
 * are, and paths are put together only for messages: this is the inner loop of every commit.
 */
class Pickler implements Place {
  private readonly refer: Refer
  private readonly owner: unknown
  private readonly graph: Map<object, number> | undefined
  private readonly nodes: unknown[] = []
  private seen: Set<object> | undefined
  /** What leads to the value in hand: names, and numbers in arrays. */
  private readonly trail: (string | number)[] = []

  constructor(refer: Refer, owner: unknown, graph: boolean) {
    this.refer = refer
    this.owner = owner
    this.graph = graph ? new Map() : undefined
  }

  get path(): string {
    return this.trail.map((each, i) => (typeof each === 'number' ? `[${each}]` : i === 0 ? each : `.${each}`)).join('')
  }

  attributes(state: State): Record<string, unknown> {
    const record: Record<string, unknown> = {}
    let count = 0
    for (const key in state) {
      if (key.startsWith('_v_')) continue
      if (key === '__proto__' || key === '' || !key.isWellFormed())
        throw this.refuse(`'${key}'`, 'something under a name')
      if (++count > MAX_KEYS) throw this.refuse(key, `more than the ${MAX_KEYS} that an object can have`)
      record[key] = this.value(state[key], key)
    }
    return this.graph === undefined ? record : { '': new Special('graph', [this.nodes, record]) }
  }

  private value(value: unknown, key: string | number): unknown {
    switch (typeof value) {
      case 'string':
        return value.isWellFormed() ? value : new Special('utf16', [Buffer.from(value, 'utf16le')])
      case 'number':
        return value === 0 && Object.is(value, -0) ? new Special('minus zero', []) : value
      case 'boolean':
      case 'undefined':
      case 'bigint':
        return value
    }
    if (value === null) return null
    this.trail.push(key)
    if (typeof value !== 'object') throw this.refuse(this.path, `a ${typeof value}`)
    if (this.trail.length > MAX_DEPTH)
      throw this.refuse(String(this.trail[0]), `values nested more than ${MAX_DEPTH} deep`)
    const stored = this.object(value)
    this.trail.pop()
    return stored
  }

  private object(value: object): unknown {
    if (cellOf(value) !== undefined) return this.refer(value as Persistent, this)
    if (value instanceof Reference) return value
    if (this.graph === undefined) {
      this.seen ??= new Set()
      if (this.seen.has(value)) throw SHARED
      this.seen.add(value)
      return this.content(value)
    }
    const known = this.graph.get(value)
    if (known !== undefined) return new Special('node', [known])
    const number = this.nodes.length
    this.graph.set(value, number)
    this.nodes.push(undefined)
    this.nodes[number] = this.content(value)
    return new Special('node', [number])
  }

  private content(value: object): unknown {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Array.prototype) return this.array(value as unknown[])
    if (prototype === Object.prototype || prototype === null)
      return this.plain(value as Record<string, unknown>, prototype === null)
    if (prototype === Map.prototype)
      return new Special(
        'map',
        Array.from(value as Map<unknown, unknown>, ([k, v], i) => [
          this.value(k, `keys[${i}]`),
          this.value(v, `get(${typeof k === 'object' ? i : String(k)})`),
        ]),
      )
    if (prototype === Set.prototype)
      return new Special(
        'set',
        Array.from(value as Set<unknown>, (v, i) => this.value(v, `values[${i}]`)),
      )
    if (AS_THEY_ARE.has(prototype)) return value
    if (prototype === Uint8Array.prototype) return new Special('bytes', [Buffer.from(value as Uint8Array)])
    throw this.refuse(this.path, `an object of class ${(prototype as object).constructor?.name ?? '(unknown)'}`)
  }

  private array(value: unknown[]): unknown {
    const { length } = value
    const keys = Object.keys(value)
    // indices come first and in order, so the last key tells
    if (keys.length !== length || (length > 0 && keys[length - 1] !== String(length - 1)))
      return this.sparse(value, keys)
    let copy: unknown[] | undefined
    for (let i = 0; i < length; i++) {
      const stored = this.value(value[i], i)
      if (stored === value[i]) continue
      copy ??= [...value]
      copy[i] = stored
    }
    return copy ?? value
  }

  private sparse(value: unknown[], keys: string[]): Special {
    if (keys.some(key => !/^\d+$/.test(key))) throw this.refuse(this.path, 'an array with named properties')
    return new Special('sparse', [
      value.length,
      ...keys.map(key => [Number(key), this.value(value[Number(key)], Number(key))]),
    ])
  }

  private plain(value: Record<string, unknown>, bare: boolean): unknown {
    if (Object.getOwnPropertySymbols(value).length > 0) throw this.refuse(this.path, 'an object with symbols as keys')
    const entries = Object.entries(value)
    let odd = bare || entries.length > MAX_KEYS
    for (const entry of entries) {
      entry[1] = this.value(entry[1], entry[0])
      odd ||= entry[0] === '__proto__' || !entry[0].isWellFormed()
    }
    return odd
      ? new Special('entries', [bare, ...entries.map(([key, each]) => [this.value(key, key), each])])
      : Object.fromEntries(entries)
  }

  private refuse(path: string, what: string): ObjectError {
    return new ObjectError(
      'INVALID_VALUE',
      `attribute ${path} of ${this.owner} holds ${what}, which cannot be stored; store plain values, or a registered class that extends Persistent`,
    )
  }
}
