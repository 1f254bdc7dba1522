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
 */
import { type InspectOptions, inspect } from 'node:util'
import { Cell, cell, isInner, type Jar } from './cell.ts'
import type { Oid, Tid } from './ids.ts'
import type { State } from './state.ts'
import { acquire, type Located, physicalPath } from './traversal.ts'

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
