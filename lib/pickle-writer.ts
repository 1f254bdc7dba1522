/**
 * Writes states (lib/pickle.ts has the format). One walk checks every value and writes it: this is the inner loop of every commit. What
 * would not come back is refused; but a getter counts as the value it gives, what is frozen comes back unfrozen, what is not enumerable is
 * not looked for in arrays and typed arrays (each element would be asked), and a view of a part of a buffer comes back as a view of that part alone.
 *
 * The bytes go into a slab that many states share, each behind room for the header of its record; what was handed out is never
 * written again. Paths are put together only for messages.
 */
import { isDate, isMap, isSet } from 'node:util/types'
import { ObjectError } from './errors.ts'
import { cellOf, type Persistent, type State } from './persistent.ts'
import type { Place, Refer } from './pickle.ts'
import { packLeaf } from './pickle-leaves.ts'
import { FIXEXT_1, type Kind, MAX_SPARSE, REFERENCE, Reference, SPECIAL } from './pickle-values.ts'
import { type Binary, besideBytes, isBinary, Views } from './pickle-views.ts'

const SLAB = 64 * 1024
/** The most attributes of an object. */
const MAX_KEYS = 0xffff
/** How deep values may be nested: what could be stored must be loaded on a much fuller stack. */
const MAX_DEPTH = 200
/** Texts up to this length are written character by character. */
const SHORT = 40

const BINARY = new Set<unknown>(
  [
    ...[Buffer, Uint8Array, Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array],
    ...[Float32Array, Float64Array, BigInt64Array, BigUint64Array, DataView, ArrayBuffer],
  ].map(each => each.prototype),
)
const SHARED = new Error('an inner value is met twice')

let slab = Buffer.allocUnsafeSlow(SLAB)
let at = 0

/** What leads from a value to one inside it: a name, an index, or what makes the step of a message's path. */
type Step = string | number | (() => string)

export class StateWriter implements Place {
  private refer!: Refer
  private owner: unknown
  /** Where the bytes of the state in hand begin, its room included. */
  private start = 0
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
   * @returns the bytes, room included. Throws what refuses the state.
   */
  write(state: State, refer: Refer, owner: unknown, room: number): Buffer {
    this.refer = refer
    this.owner = owner
    this.begin(room)
    try {
      this.attributes(state)
      this.assertNothingShared()
    } catch (error) {
      at = this.start
      if (error !== SHARED) throw error
      this.begin(room)
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
    return slab.subarray(this.start, at)
  }

  get path(): string {
    return pathOf(this.trail.slice(0, this.depth))
  }

  private begin(room: number): void {
    this.first = undefined
    this.second = undefined
    this.seen = undefined
    this.views.clear()
    this.depth = 0
    this.start = at
    this.need(room)
    at += room
  }

  /** Makes sure that there is place for that many bytes. */
  private need(bytes: number): void {
    if (at + bytes <= slab.length) return
    const written = at - this.start
    const larger = Buffer.allocUnsafeSlow(Math.max(SLAB, (written + bytes) * 2))
    slab.copy(larger, 0, this.start, at)
    slab = larger
    this.start = 0
    at = written
  }

  private attributes(state: State): void {
    let count = 0
    for (const key in state) if (!isVolatile(key)) count += 1
    if (count > MAX_KEYS)
      throw new ObjectError('INVALID_VALUE', `${this.owner} has ${count} attributes; at most ${MAX_KEYS} can be stored`)
    this.mapHead(count)
    for (const key in state) {
      if (isVolatile(key)) continue
      if (key === '__proto__' || key === '' || !this.text(key)) throw this.refuse(`'${key}'`, 'something under a name')
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
    this.need(5)
    slab[at] = 0xdd
    const count = at + 1 - this.start
    at += 5
    for (const { value, trail } of this.pending) {
      this.trail = [...trail]
      this.depth = trail.length
      this.content(value)
    }
    slab.writeUInt32BE(this.pending.length, this.start + count)
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
        this.need(3)
        slab[at++] = FIXEXT_1
        slab[at++] = 0
        slab[at++] = 0
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
    if (cellOf(value) !== undefined) {
      this.reference(this.refer(value as Persistent, this))
      return
    }
    if (value instanceof Reference) {
      this.reference(value)
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

  private reference({ oid, className }: Reference): void {
    this.need(4)
    slab[at++] = FIXEXT_1
    slab[at++] = REFERENCE
    slab[at++] = 0
    slab[at++] = 0x92
    this.number(oid)
    this.text(className)
  }

  private content(value: object): void {
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype === Array.prototype && Array.isArray(value)) this.array(value as unknown[])
    else if (prototype === Object.prototype || prototype === null)
      this.plain(value as Record<string, unknown>, prototype === null)
    else if (prototype === Map.prototype && isMap(value)) this.map(value as Map<unknown, unknown>)
    else if (prototype === Set.prototype && isSet(value)) {
      this.assertBare(value, 'Set')
      this.special('set', (value as Set<unknown>).size)
      let i = 0
      for (const each of value as Set<unknown>) {
        const index = i++
        this.value(each, () => `values[${index}]`)
      }
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
    } else throw this.refuse(this.path, `an object of class ${(prototype as object).constructor?.name || '(unknown)'}`)
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
    const { length } = value
    const keys = Object.keys(value)
    // indices come first and in order, so the last key tells
    if (keys.length !== length || (length > 0 && keys[length - 1] !== String(length - 1))) {
      this.sparse(value, keys)
      return
    }
    this.assertNoSymbols(value, 'an array')
    this.arrayHead(length)
    for (let i = 0; i < length; i++) this.value(value[i], i)
  }

  private sparse(value: unknown[], keys: string[]): void {
    if (keys.some(key => !/^\d+$/.test(key))) throw this.refuse(this.path, 'an array with named properties')
    this.assertNoSymbols(value, 'an array')
    if (value.length > MAX_SPARSE)
      throw this.refuse(this.path, `an array with holes of length ${value.length}, more than ${MAX_SPARSE},`)
    this.special('sparse', 1 + keys.length)
    this.number(value.length)
    for (const key of keys) {
      this.arrayHead(2)
      this.number(Number(key))
      this.value(value[Number(key)], Number(key))
    }
  }

  private map(value: Map<unknown, unknown>): void {
    this.assertBare(value, 'Map')
    this.special('map', value.size)
    let i = 0
    for (const [key, each] of value) {
      const index = i++
      this.arrayHead(2)
      this.value(key, () => `keys[${index}]`)
      this.value(each, () => `get(${typeof key === 'object' ? index : String(key)})`)
    }
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

  // --- MessagePack

  private byte(value: number): void {
    this.need(1)
    slab[at++] = value
  }

  private head(count: number, fix: number, most: number, head16: number): void {
    this.need(5)
    if (count <= most) slab[at++] = fix | count
    else if (count <= 0xffff) {
      slab[at] = head16
      at = slab.writeUInt16BE(count, at + 1)
    } else {
      slab[at] = head16 + 1
      at = slab.writeUInt32BE(count, at + 1)
    }
  }

  private mapHead(count: number): void {
    this.head(count, 0x80, 15, 0xde)
  }

  private arrayHead(count: number): void {
    this.head(count, 0x90, 15, 0xdc)
  }

  /** @param count how many values follow the kind */
  private special(kind: Kind, count: number): void {
    this.need(3)
    slab[at++] = FIXEXT_1
    slab[at++] = SPECIAL
    slab[at++] = 0
    this.arrayHead(1 + count)
    this.text(kind)
  }

  private number(value: number): void {
    this.need(9)
    if (value >>> 0 === value) {
      if (value === 0 && Object.is(value, -0)) {
        this.special('minus zero', 0)
      } else if (value < 0x80) slab[at++] = value
      else if (value < 0x100) {
        slab[at++] = 0xcc
        slab[at++] = value
      } else if (value < 0x10000) {
        slab[at++] = 0xcd
        slab[at++] = value >>> 8
        slab[at++] = value & 0xff
      } else {
        slab[at++] = 0xce
        slab[at++] = value >>> 24
        slab[at++] = (value >>> 16) & 0xff
        slab[at++] = (value >>> 8) & 0xff
        slab[at++] = value & 0xff
      }
    } else if (value >> 0 === value && value >= -32) slab[at++] = value & 0xff
    else if (value >> 0 === value) {
      slab[at] = 0xd2
      at = slab.writeInt32BE(value, at + 1)
    } else {
      slab[at] = 0xcb
      at = slab.writeDoubleBE(value, at + 1)
    }
  }

  /** @returns whether the text can be written as such: it has whole characters only. Otherwise nothing was written. */
  private text(value: string): boolean {
    const { length } = value
    this.need(5 + length * 3)
    if (length <= SHORT) {
      let to = at + (length < 32 ? 1 : 2)
      let i = 0
      for (; i < length; i++) {
        const code = value.charCodeAt(i)
        if (code >= 0x80) break
        slab[to++] = code
      }
      if (i === length) {
        if (length < 32) slab[at] = 0xa0 | length
        else {
          slab[at] = 0xd9
          slab[at + 1] = length
        }
        at = to
        return true
      }
    }
    const guess = headOf(length)
    const bytes = slab.write(value, at + guess)
    if (bytes !== length && !value.isWellFormed()) return false
    const head = headOf(bytes)
    if (head !== guess) slab.copyWithin(at + head, at + guess, at + guess + bytes)
    if (head === 1) slab[at] = 0xa0 | bytes
    else if (head === 2) {
      slab[at] = 0xd9
      slab[at + 1] = bytes
    } else if (head === 3) {
      slab[at] = 0xda
      slab.writeUInt16BE(bytes, at + 1)
    } else {
      slab[at] = 0xdb
      slab.writeUInt32BE(bytes, at + 1)
    }
    at += head + bytes
    return true
  }

  private bytes(value: Uint8Array): void {
    const { length } = value
    this.need(5)
    if (length < 0x100) {
      slab[at++] = 0xc4
      slab[at++] = length
    } else if (length < 0x10000) {
      slab[at] = 0xc5
      at = slab.writeUInt16BE(length, at + 1)
    } else {
      slab[at] = 0xc6
      at = slab.writeUInt32BE(length, at + 1)
    }
    this.raw(value)
  }

  private raw(value: Uint8Array): void {
    this.need(value.length)
    slab.set(value, at)
    at += value.length
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

/** Bytes before a text of that many bytes. */
const headOf = (bytes: number): number => (bytes < 32 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5)

const isVolatile = (key: string): boolean => key.charCodeAt(0) === UNDERSCORE && key.startsWith('_v_')
const UNDERSCORE = 95
