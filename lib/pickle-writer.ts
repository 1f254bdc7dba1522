/**
 * Writes states (lib/pickle.ts has the format). One walk checks every value and writes it: this is the inner loop of every commit. What
 * would not come back is refused; but a getter counts as the value it gives, what is frozen comes back unfrozen, and a view of a part of a
 * buffer comes back as a view of that part alone.
 * Paths are put together only for messages.
 */
import { isDate, isMap, isSet } from 'node:util/types'
import { cellOf } from './cell.ts'
import { ObjectError } from './errors.ts'
import type { Persistent } from './persistent.ts'
import type { Place, Refer } from './pickle.ts'
import { ByteWriter } from './pickle-bytes.ts'
import { packLeaf } from './pickle-leaves.ts'
import { isDense } from './pickle-properties.ts'
import { MAX_SPARSE } from './pickle-values.ts'
import { type Binary, besideBytes, isBinary, Views } from './pickle-views.ts'
import { Reference } from './reference.ts'
import type { State } from './state.ts'

/** The most attributes of an object. */
const MAX_KEYS = 0xffff
/** How deep values may be nested: what could be stored must be loaded on a much fuller stack. */
const MAX_DEPTH = 200

const BINARY = new Set<unknown>(
  [
    ...[Buffer, Uint8Array, Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array],
    ...[Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView, ArrayBuffer],
  ].map(each => each.prototype),
)
const SHARED = new Error('an inner value is met twice')

/** What leads from a value to one inside it: a name, an index, or what makes the step of a message's path. */
type Step = string | number | (() => string)

export class StateWriter extends ByteWriter implements Place {
  private refer!: Refer
  private owner: unknown
  /** Whether arrays that are attributes need not be looked at. */
  private bare = false
  /** The inner values met so far: the first two, and all if there are more. */
  private first: object | undefined
  private second: object | undefined
  private seen: Set<object> | undefined
  /** In a graph: the number of each node, and what is still to be written of each. */
  private graph: Map<object, number> | undefined
  private readonly pending: { readonly value: object; readonly trail: readonly Step[] }[] = []
  private readonly views = new Views<readonly Step[]>()
  /** What leads to the value in hand. */
  private trail: Step[] = []
  /** How many steps of the trail count. It stays as long as it was: making it shorter would cost its memory. */
  private depth = 0

  /**
   * @param room bytes to leave free in front
   * @param bare whether arrays that are attributes are known to be dense
   * @returns the bytes, room included. Throws what refuses the state.
   */
  write(state: State, refer: Refer, owner: unknown, room: number, bare: boolean): Buffer {
    this.refer = refer
    this.owner = owner
    this.bare = bare
    this.start(room)
    try {
      this.attributes(state)
      this.assertNothingShared()
    } catch (error) {
      this.rewind()
      if (error !== SHARED) throw error
      this.start(room)
      this.graph = new Map()
      this.wholeGraph(state)
      this.assertNothingShared()
    } finally {
      this.views.clear()
      this.first = undefined
      this.second = undefined
      this.seen = undefined
      this.graph = undefined
      if (this.pending.length > 0) this.pending.length = 0
    }
    return this.written()
  }

  get path(): string {
    return pathOf(this.trail.slice(0, this.depth))
  }

  private start(room: number): void {
    this.begin(room)
    this.first = undefined
    this.second = undefined
    this.seen = undefined
    this.views.clear()
    this.depth = 0
  }

  private attributes(state: State): void {
    let count = 0
    for (const key in state) if (!isVolatile(key)) count += 1
    if (count > MAX_KEYS)
      throw new ObjectError('INVALID_VALUE', `${this.owner} has ${count} attributes; at most ${MAX_KEYS} can be stored`)
    this.mapHead(count)
    for (const key in state) {
      if (isVolatile(key)) continue
      if (isReserved(key) || !this.text(key)) throw this.misnamed(key)
      this.value(state[key], key)
      count -= 1
    }
    if (count !== 0)
      throw new ObjectError('INVALID_VALUE', `attributes of ${this.owner} came or went while its values were read`)
  }

  /** Each inner value is written once, and a node stands in its places: the record first, then the nodes as they were met. */
  private wholeGraph(state: State): void {
    this.mapHead(1)
    this.text('')
    this.special('graph', 2)
    this.attributes(state)
    const close = this.openList()
    for (const { value, trail } of this.pending) {
      this.trail = [...trail]
      this.depth = trail.length
      this.content(value)
    }
    close(this.pending.length)
  }

  private value(value: unknown, step: Step): void {
    switch (typeof value) {
      case 'string':
        if (!this.text(value)) {
          this.special('utf16', 1)
          this.bytes(Buffer.from(value, 'utf16le'))
        }
        return
      case 'number':
        this.number(value)
        return
      case 'boolean':
        this.byte(value ? 0xc3 : 0xc2)
        return
      case 'undefined':
        this.undefined()
        return
      case 'bigint':
        this.raw(packLeaf(value))
        return
    }
    if (value === null) {
      this.byte(0xc0)
      return
    }
    this.trail[this.depth++] = step
    if (typeof value !== 'object') throw this.refuse(this.path, `a ${typeof value}`)
    if (this.depth > MAX_DEPTH) {
      const [first] = this.trail
      throw this.refuse(typeof first === 'string' ? first : this.path, `values nested more than ${MAX_DEPTH} deep`)
    }
    this.object(value)
    this.depth -= 1
  }

  private object(value: object): void {
    if (cellOf(value) !== undefined || value instanceof Reference) {
      this.reference(this.refer(value as Persistent | Reference, this))
      return
    }
    if (this.graph === undefined) {
      this.meet(value)
      this.content(value)
      return
    }
    let number = this.graph.get(value)
    if (number === undefined) {
      number = this.pending.push({ value, trail: this.trail.slice(0, this.depth) }) - 1
      this.graph.set(value, number)
    }
    this.special('node', 1)
    this.number(number)
  }

  /** Most states have no more than two inner values. */
  private meet(value: object): void {
    if (this.first === undefined) {
      this.first = value
      return
    }
    if (this.second === undefined) {
      if (value === this.first) throw SHARED
      this.second = value
      return
    }
    this.seen ??= new Set([this.first, this.second])
    if (this.seen.has(value)) throw SHARED
    this.seen.add(value)
  }

  private content(value: object): void {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Array.prototype && Array.isArray(value)) this.array(value as unknown[])
    else if (prototype === Object.prototype || prototype === null)
      this.plain(value as Record<string, unknown>, prototype === null)
    else if (prototype === Map.prototype && isMap(value)) this.map(value as Map<unknown, unknown>)
    else if (prototype === Set.prototype && isSet(value)) {
      this.assertBare(value, 'Set')
      this.members(value as Set<unknown>)
    } else if (prototype === Date.prototype && isDate(value)) {
      this.assertBare(value, 'Date')
      this.raw(packLeaf(value))
    } else if (BINARY.has(prototype) && isBinary(value)) {
      this.assertOwn(value)
      if (prototype === Buffer.prototype) this.bytes(value as Buffer)
      else if (prototype === Uint8Array.prototype) {
        this.special('bytes', 1)
        this.bytes(value as Uint8Array)
      } else this.raw(packLeaf(value))
    } else throw this.refuse(this.path, nameOf(prototype as object))
  }

  private members(value: Set<unknown>): void {
    const { size } = value
    this.special('set', size)
    let i = 0
    for (const each of value) {
      const index = i++
      this.value(each, () => `values[${index}]`)
    }
    this.assertCounted(i, size)
  }

  /** What a getter among the values adds or takes out meanwhile would make a record that cannot be read. */
  private assertCounted(written: number, size: number): void {
    if (written !== size) throw this.refuse(this.path, 'members that came or went while they were read')
  }

  private assertOwn(value: Binary): void {
    const beside = besideBytes(value)
    if (beside !== undefined) throw this.refuse(this.path, beside)
    this.views.add(value, this.trail.slice(0, this.depth))
  }

  private assertNothingShared(): void {
    const trail = this.views.overlapping()
    if (trail !== undefined) throw this.refuse(pathOf(trail), 'bytes that another value of the object holds as well')
  }

  /** What is beside the content of a Map, Set or Date would be lost. */
  private assertBare(value: object, kind: string): void {
    if (Object.getOwnPropertyNames(value).length > 0 || Object.getOwnPropertySymbols(value).length > 0)
      throw this.refuse(this.path, `a ${kind} with properties of its own`)
  }

  private array(value: unknown[]): void {
    if ((this.bare && this.depth === 1) || isDense(value)) this.elements(value)
    else this.sparse(value)
  }

  private elements(value: unknown[]): void {
    const { length } = value
    this.arrayHead(length)
    for (let i = 0; i < length; i++) this.value(value[i], i)
  }

  private sparse(value: unknown[]): void {
    this.assertNoSymbols(value, 'an array')
    const { length } = value
    const names = Object.getOwnPropertyNames(value)
    const indices = names.filter(name => isIndex(name, length))
    if (names.length !== indices.length + 1) throw this.refuse(this.path, 'an array with named properties')
    if (indices.length === length) {
      this.elements(value)
      return
    }
    if (length > MAX_SPARSE)
      throw this.refuse(this.path, `an array with holes of length ${length}, more than ${MAX_SPARSE}`)
    this.special('sparse', 1 + indices.length)
    this.number(length)
    for (const index of indices) {
      this.arrayHead(2)
      this.number(Number(index))
      this.value(value[Number(index)], Number(index))
    }
  }

  private map(value: Map<unknown, unknown>): void {
    this.assertBare(value, 'Map')
    const { size } = value
    this.special('map', size)
    let i = 0
    for (const [key, each] of value) {
      const index = i++
      this.arrayHead(2)
      this.value(key, () => `keys[${index}]`)
      this.value(each, () => `get(${typeof key === 'object' ? index : String(key)})`)
    }
    this.assertCounted(i, size)
  }

  private plain(value: Record<string, unknown>, bare: boolean): void {
    this.assertNoSymbols(value, 'an object')
    const keys = Object.keys(value)
    if (Object.getOwnPropertyNames(value).length > keys.length)
      throw this.refuse(this.path, 'an object with properties that are not enumerable')
    const odd = bare || keys.some(key => key === '__proto__' || !key.isWellFormed())
    if (odd) {
      this.special('entries', 1 + keys.length)
      this.byte(bare ? 0xc3 : 0xc2)
    } else this.mapHead(keys.length)
    for (const key of keys) {
      if (odd) this.arrayHead(2)
      this.value(key, key)
      this.value(value[key], key)
    }
  }

  private assertNoSymbols(value: object, what: string): void {
    if (Object.getOwnPropertySymbols(value).length > 0) throw this.refuse(this.path, `${what} with symbols as keys`)
  }

  private misnamed(key: string): ObjectError {
    return new ObjectError(
      'INVALID_VALUE',
      `${this.owner} has an attribute named ${JSON.stringify(key)}, which cannot be stored: names are whole characters, not empty, none of __proto__ and constructor, and do not begin with _p_; choose another name, or a Map`,
    )
  }

  private refuse(path: string, what: string): ObjectError {
    return new ObjectError(
      'INVALID_VALUE',
      `attribute ${path} of ${this.owner} holds ${what}, which cannot be stored; store plain values, or a registered class that extends Persistent`,
    )
  }
}

const pathOf = (trail: readonly Step[]): string =>
  trail
    .map((each, i) => {
      if (typeof each === 'number') return `[${each}]`
      const step = typeof each === 'string' ? each : each()
      return i === 0 ? step : `.${step}`
    })
    .join('')

/** What a prototype says that it is the prototype of, which may not be so. */
function nameOf(prototype: object): string {
  const { constructor: claimed } = prototype as { constructor: unknown }
  const name = typeof claimed === 'function' && claimed.name !== '' ? claimed.name : '(unknown)'
  const foreign = claimed !== STORED.get(name) && STORED.has(name) ? ', one of another realm,' : ''
  return `an object of class ${name}${foreign}`
}
const STORED = new Map<string, unknown>([Object, Array, Map, Set, Date].map(each => [each.name, each]))

/** Whether a name is that of an element: `01` and `-1` are not. */
const isIndex = (name: string, length: number): boolean =>
  Number.isInteger(Number(name)) && String(Math.abs(Number(name))) === name && Number(name) < length

/** Names that would stand in front of the class's own, or of the protocol's. */
const isReserved = (key: string): boolean =>
  key === '' ||
  key === 'constructor' ||
  (key.charCodeAt(0) === UNDERSCORE && (key === '__proto__' || key.startsWith('_p_')))

const isVolatile = (key: string): boolean => key.charCodeAt(0) === UNDERSCORE && key.startsWith('_v_')
const UNDERSCORE = 95
