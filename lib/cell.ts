/**
 * A persistent object's bookkeeping (ZODB's `_p_` attributes) and the traps of its proxy: what is read of an object and set in it goes through here.
 *
 * The target of all proxies of a class is one empty object with the class's prototype: `instanceof`, `typeof` and the engine's checks
 * see an ordinary, extensible object of that class. lib/persistent.ts tells the life of an object.
 */
import { ObjectError } from './errors.ts'
import type { Oid, Tid } from './ids.ts'
import type { Draft } from './object-writer.ts'
import type { Persistent } from './persistent.ts'
import { Reference } from './reference.ts'
import { type Kind, kindOf, type State } from './state.ts'

/** What an object needs of the connection it belongs to. */
export interface Jar {
  /** Fills the cell's state. */
  load(cell: Cell): void
  /** The object is about to change. Throws where changes are not allowed. */
  register(cell: Cell): void
  /** An inner value of the object was handed out. */
  touch(cell: Cell): void
  /** Marks the object changed if one of its inner values was. */
  examine(cell: Cell): void
  /** The transaction relies on an object, or on some of its attributes, as it sees them. */
  readCurrent(object: Persistent, attributes?: readonly string[]): void
  /** What a reference leads to. */
  object(reference: Reference): unknown
}

const CELL: unique symbol = Symbol('cell')

/** Whether a value is part of the state that it is in, and can be changed in place. */
export const isInner = (value: unknown): value is object =>
  typeof value === 'object' &&
  value !== null &&
  (value as { [CELL]?: Cell })[CELL] === undefined &&
  !(value instanceof Reference)

/** An object's bookkeeping, and the traps of its proxy. */
export class Cell implements ProxyHandler<object> {
  /** The attributes; undefined for a ghost. */
  state: State | undefined
  /** True until an inner value is read or set. False also where there is none. */
  watched = false
  /** Whether the state is bare (BARE). */
  bare = false
  oid: Oid = 0
  serial: Tid = 0
  jar: Jar | undefined
  changed = false
  /** True when an inner value went in or out by the class's own doing (see handOut). */
  exposed = false
  /** Bytes of the state when it was loaded. */
  bytes = 0
  /** False while the cache holds the object weakly. */
  held = true
  /** What its transaction has stored of it (lib/overlay.ts). */
  draft: Draft | undefined
  /** The name under which a record knows an object whose class is not registered. */
  brokenName: string | undefined
  readonly proxy: Persistent
  private readonly kind: Kind
  /** These two are properties of its own, and not of the class: the engine looks the trap up each time, and finds it sooner. */
  readonly get = this.reading
  readonly set = this.setting

  constructor(prototype: object, state: State | undefined) {
    this.state = state
    this.kind = kindOf(prototype)
    this.proxy = new Proxy(this.kind.target, this) as Persistent
  }

  /** The object's class. */
  get ctor(): unknown {
    return this.kind.target.constructor
  }

  /** A state without attributes. */
  newState(): State {
    return new this.kind.newState()
  }

  /** Whether a stored state can be one of its class. */
  isSound(state: State): boolean {
    const { sound } = this.kind
    return sound === undefined || sound(state)
  }

  /** Whether its state is to be loaded bare. */
  get loadsBare(): boolean {
    return this.kind.bare
  }

  /** What messages call the object. */
  toString(): string {
    const name = this.brokenName ?? this.proxy.constructor.name
    return this.oid === 0 ? name : `${name} (object ${this.oid})`
  }

  /** The state, loaded if need be. */
  loaded(): State {
    if (this.state === undefined) {
      if (this.jar === undefined)
        throw new ObjectError('OBJECT_NOT_FOUND', 'a ghost without a connection cannot be loaded')
      this.jar.load(this)
    }
    return this.state as State
  }

  /** The state, loaded if need be, with objects where references stood, and shared with nobody. */
  complete(): State {
    const state = this.loaded()
    if (!this.bare) return state
    for (const key in state) {
      const value = state[key]
      if (Array.isArray(value)) state[key] = value.map(each => this.follow(each))
    }
    this.bare = false
    return state
  }

  /** A value of the state; what a reference leads to. */
  follow(value: unknown): unknown {
    return value instanceof Reference && this.jar !== undefined ? this.jar.object(value) : value
  }

  /** Enters a fresh state (from a record, or as just stored). */
  settle(state: State, serial: Tid): void {
    this.state = state
    this.serial = serial
    this.changed = false
    this.bare = this.kind.bare
    this.watch()
  }

  /** Looks for inner values, so that reading one is noticed. */
  watch(): void {
    this.watched = false
    if (this.kind.explicit) return
    for (const key in this.state) {
      if (isInner(this.state[key])) {
        this.watched = true
        return
      }
    }
  }

  /** Forgets the state. */
  ghostify(): void {
    this.state = undefined
    this.bare = false
    this.changed = false
    this.watched = false
    this.exposed = false
  }

  /** To be called before every change. */
  change(): State {
    const state = this.loaded()
    if (!this.changed && this.jar !== undefined) {
      this.jar.register(this)
      this.changed = true
    }
    return state
  }

  private read(state: State, key: string): unknown {
    if (this.bare) this.complete()
    const value = state[key]
    if (this.watched && isInner(value)) this.expose()
    return value
  }

  /** An inner value is known outside from now on. */
  private expose(): void {
    this.watched = false
    this.jar?.touch(this)
  }

  /** True for a stored object whose inner values may be known outside. */
  mayChangeUnseen(): boolean {
    return this.watched || this.exposed
  }

  private reading(target: object, key: string | symbol, receiver: unknown): unknown {
    if (key === CELL) return this
    const state = this.state
    if (state !== undefined) {
      const value = state[key as string]
      if (value !== undefined && (typeof value !== 'object' || !(this.watched || this.bare))) return value
    }
    return this.find(target, key, receiver)
  }

  private find(target: object, key: string | symbol, receiver: unknown): unknown {
    if (isProtocol(key)) return Reflect.get(target, key, receiver)
    const state = this.loaded()
    return key in state ? this.read(state, key) : Reflect.get(target, key, receiver)
  }

  private setting(target: object, key: string | symbol, value: unknown, receiver: unknown): boolean {
    if (receiver !== this.proxy) return Reflect.set({}, key, value, receiver)
    if (isProtocol(key)) return Reflect.set(target, key, value, receiver) || this.refuse(key, RESERVED)
    const accessor = key in target && !(key in this.loaded()) ? inherited(target, key) : undefined
    if (accessor === undefined) this.assign(key, value)
    else if (accessor.set === undefined) this.refuse(key, 'its class has a getter of that name and no setter')
    else accessor.set.call(receiver, value)
    return true
  }

  private assign(key: string, value: unknown): void {
    if (key.startsWith('_v_')) this.loaded()[key] = value
    else {
      this.change()[key] = value
      if (this.watched && isInner(value)) this.expose()
    }
  }

  defineProperty(_target: object, key: string | symbol, descriptor: PropertyDescriptor): boolean {
    if (isProtocol(key)) this.refuse(key, RESERVED)
    if (descriptor.get !== undefined || descriptor.set !== undefined || descriptor.configurable === false)
      this.refuse(key, 'attributes are plain values; define accessors in the class')
    if (descriptor.writable === false)
      this.refuse(key, 'attributes can be written; keep its writers from it in the class')
    if ('value' in descriptor || !(key in this.loaded())) this.assign(key, descriptor.value)
    return true
  }

  private refuse(key: string | symbol, why: string): never {
    throw new ObjectError('INVALID_VALUE', `attribute ${String(key)} of ${this} cannot be set: ${why}`)
  }

  deleteProperty(_target: object, key: string | symbol): boolean {
    if (isProtocol(key)) return false
    if (key in this.loaded()) delete (key.startsWith('_v_') ? this.loaded() : this.change())[key]
    return true
  }

  has(target: object, key: string | symbol): boolean {
    return (!isProtocol(key) && key in this.loaded()) || Reflect.has(target, key)
  }

  ownKeys(): string[] {
    return Object.keys(this.loaded())
  }

  getOwnPropertyDescriptor(_target: object, key: string | symbol): PropertyDescriptor | undefined {
    if (isProtocol(key)) return undefined
    const state = this.loaded()
    if (!(key in state)) return undefined
    const enumerable = !key.startsWith('__') && !key.startsWith('_v_')
    return { value: this.read(state, key), writable: true, enumerable, configurable: true }
  }

  setPrototypeOf(): boolean {
    throw new ObjectError('INVALID_VALUE', `the class of ${this} cannot be changed`)
  }

  preventExtensions(): boolean {
    throw new ObjectError(
      'INVALID_VALUE',
      `${this} cannot be frozen or sealed: a persistent object is loaded and changes`,
    )
  }
}

const RESERVED = "symbols, 'constructor' and names that begin with '_p_' are not stored; choose another name"

/** Names that are the protocol's or the language's and never load a ghost. */
function isProtocol(key: string | symbol): key is symbol {
  return typeof key === 'symbol' || key === 'constructor' || key.startsWith('_p_')
}

function inherited(target: object, key: string): PropertyDescriptor | undefined {
  for (let at = Object.getPrototypeOf(target); at !== null; at = Object.getPrototypeOf(at)) {
    const found = Object.getOwnPropertyDescriptor(at, key)
    if (found !== undefined) return found.get !== undefined || found.set !== undefined ? found : undefined
  }
  return undefined
}

/** The bookkeeping of a persistent object; undefined for any other value. */
export function cellOf(value: unknown): Cell | undefined {
  return typeof value === 'object' && value !== null ? (value as { [CELL]?: Cell })[CELL] : undefined
}

/** Makes a ghost: an object of that prototype that will be loaded when it is read. */
export function newGhost(prototype: object, oid: Oid, jar: Jar): Cell {
  const cell = new Cell(prototype, undefined)
  cell.oid = oid
  cell.jar = jar
  return cell
}

/** The bookkeeping of what is known to be a persistent object. */
export function cell(object: object): Cell {
  return (object as { [CELL]: Cell })[CELL]
}
