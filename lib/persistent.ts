/**
 * Persistent objects: plain to use, loaded when read, followed when changed.
 *
 * A Persistent is a proxy. Its handler is a Cell, which is also the object's bookkeeping (ZODB's `_p_` attributes): the oid,
 * the serial, the jar (the connection it belongs to) and the state, an object that holds nothing but the attributes.
 *
 *       new Order()                      no jar, no oid
 *           │ reached from a stored object at commit or savepoint, or connection.add()
 *           ▼
 *        changed ──────── commit ──────▶ clean ◀───── load ────── ghost (no state)
 *           ▲                             │ │                        ▲
 *           └── attribute set, or inner ──┘ └─ _p_deactivate, a newer revision
 *               value found different                                │
 *        changed ───────── abort, rollback, _p_invalidate ───────────┘
 *
 * Nothing is lost in silence: setting or deleting an attribute marks the object changed at once. An inner value (array,
 * plain object, Map, Set, Date, typed array) stays native; the first read of one enters the object in its jar's list of touched
 * objects, and commit and savepoint compare the touched ones with what is stored. An inner value belongs to its object as long
 * as the object stays loaded, through rollbacks too, and to one transaction or one explicitly opened connection.
 *
 * The target of all proxies of a class is one empty object with the class's prototype: `instanceof`, `typeof` and the engine's checks
 * see an ordinary, extensible object of that class.
 */
import { type InspectOptions, inspect } from 'node:util'
import { ObjectError } from './errors.ts'
import type { Draft } from './object-writer.ts'
import { Reference } from './reference.ts'
import { acquire, type Located, physicalPath } from './traversal.ts'

/** Object id: a positive whole number, unique in its database, never used twice. */
export type Oid = number
/** The root object's. */
export const ROOT_OID: Oid = 1
/** Transaction id: microseconds since 1970, strictly increasing. An object's serial is the tid that wrote it. */
export type Tid = number

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

/** Attributes by name, and nothing else: no prototype answers for a name that is not there. */
export type State = Record<string, unknown>
const NOTHING = Object.freeze(Object.create(null))
/** Makes a decoded record a state. */
export function asState(record: Record<string, unknown>): State {
  return Object.setPrototypeOf(record, NOTHING)
}

/** Classes that mark themselves changed (BTree nodes and the like, which never hand out an inner value). */
export const EXPLICIT: unique symbol = Symbol('explicit change tracking')
/**
 * EXPLICIT classes whose arrays hold many references, of which few are followed (BTree nodes). Their loaded states are *bare*: in an array, references
 * stand until somebody asks for what they lead to (`follow`), and the array may be one that others read, too, and then is frozen (`ownState`).
 * Reading such an attribute in the ordinary way gives all objects their places first.
 */
export const BARE: unique symbol = Symbol('references stay until they are followed')

const CELL: unique symbol = Symbol('cell')
/** What the objects of a class share. */
interface Kind {
  /** The target of their proxies. */
  readonly target: object
  /** Whether they mark themselves changed. */
  readonly explicit: boolean
  /** Whether their states are loaded bare. */
  readonly bare: boolean
  /** Makes an empty state. One function for each class: the engine learns from the first ones how much room a state needs. */
  readonly newState: new () => State
}
const kinds = new WeakMap<object, Kind>()

function kindOf(prototype: object): Kind {
  const known = kinds.get(prototype)
  if (known !== undefined) return known
  function StateObject(): void {}
  StateObject.prototype = NOTHING
  const newState = StateObject as unknown as new () => State
  const kind: Kind = {
    target: Object.create(prototype),
    explicit: EXPLICIT in prototype,
    bare: BARE in prototype,
    newState,
  }
  kinds.set(prototype, kind)
  return kind
}

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

/** For EXPLICIT classes: passes on a value that is stored in `owner`, so that a change inside it is noticed. */
export function handOut<T>(owner: Persistent, value: T): T {
  if (isInner(value)) {
    const own = cell(owner)
    own.exposed = true
    own.jar?.touch(own)
  }
  return value
}

/** For BARE classes: the state as it is loaded. */
export const bareState = (object: Persistent): State => cell(object).loaded()

/** For BARE classes: the state, with arrays that may be changed. To be called when the object is marked changed. */
export function ownState(object: Persistent): State {
  const state = cell(object).loaded()
  for (const key in state) {
    const value = state[key]
    if (Array.isArray(value) && Object.isFrozen(value)) state[key] = [...value]
  }
  return state
}

/** For BARE classes: a value that stands in `owner`; for a reference what it leads to. */
export const follow = (owner: Persistent, value: unknown): unknown => cell(owner).follow(value)

/** Makes a ghost: an object of that prototype that will be loaded when it is read. */
export function newGhost(prototype: object, oid: Oid, jar: Jar): Cell {
  const cell = new Cell(prototype, undefined)
  cell.oid = oid
  cell.jar = jar
  return cell
}

/**
 * Base class of all objects that live in the database by themselves.
 *
 * Attributes are stored, except those whose names begin with `_v_` (volatile: gone when the object becomes a ghost); names that
 * begin with `_p_` belong to the protocol. The constructor runs when an object is made, not when it is loaded; `#private` fields are
 * not stored. Register each class with `registerClass`.
 */
export class Persistent implements Located {
  declare __parent__?: Located | undefined
  declare __name__?: string | undefined

  constructor() {
    const own = new Cell(new.target.prototype, undefined)
    own.state = own.newState()
    return own.proxy as this
  }

  /** The object's id in its database; undefined until it is stored or added. */
  get _p_oid(): Oid | undefined {
    return cell(this).oid || undefined
  }

  /** The transaction that wrote the loaded revision; undefined for a new object, 0 for a ghost. */
  get _p_serial(): Tid | undefined {
    return cell(this).oid === 0 ? undefined : cell(this).serial
  }

  /** The connection the object belongs to. */
  get _p_jar(): Jar | undefined {
    return cell(this).jar
  }

  /** True with unsaved changes, false without, undefined for a ghost. */
  get _p_changed(): boolean | undefined {
    const own = cell(this)
    if (own.state === undefined) return undefined
    own.jar?.examine(own)
    return own.changed
  }

  /** True marks the object changed; false takes the mark back (the state stays as it is). A new object is stored in any case. */
  set _p_changed(value: boolean) {
    if (value) cell(this).change()
    else cell(this).changed = false
  }

  /** Forgets the state of an unchanged object; it is loaded again when read. */
  _p_deactivate(): void {
    const own = cell(this)
    if (own.serial !== 0 && this._p_changed === false) own.ghostify()
  }

  /** Forgets the state, changed or not. An object that was never stored keeps it. */
  _p_invalidate(): void {
    const own = cell(this)
    if (own.serial !== 0) own.ghostify()
  }

  /** The absolute path of the object in the tree; `/` for the root. */
  get physicalPath(): string {
    return physicalPath(this)
  }

  /**
   * Looks a name up in the object's container and then outward to the root; the nearest wins.
   * @throws {ObjectError} NOT_FOUND
   */
  acquire(name: string): unknown {
    return acquire(this, name)
  }

  /** @param depth how many levels may follow; null for all. A new call of inspect knows only what it is told. */
  [inspect.custom](depth: number | null, options: InspectOptions, recurse: typeof inspect): string {
    const own = cell(this)
    const title = `${this.constructor.name}${own.oid === 0 ? '' : ` #${own.oid}`}`
    if (own.state === undefined) return `${title} (ghost)`
    if (depth !== null && depth < 0) return `[${title}]`
    if (inspected.has(own)) return `[Circular ${title}]`
    inspected.add(own)
    try {
      return `${title} ${recurse({ ...own.proxy }, { ...options, depth })}`
    } finally {
      inspected.delete(own)
    }
  }
}

/** The objects that a call of `inspect` is inside of: it sees a copy of each, and no circle. */
const inspected = new Set<Cell>()

function cell(object: object): Cell {
  return (object as { [CELL]: Cell })[CELL]
}
