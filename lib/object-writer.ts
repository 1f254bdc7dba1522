/** Makes records of the objects of one connection (ZODB: ObjectWriter). */

import { type Cell, cellOf, type Jar } from './cell.ts'
import { ObjectError } from './errors.ts'
import { type Oid, ROOT_OID } from './ids.ts'
import type { Persistent } from './persistent.ts'
import { type Place, pickle, type Refer, Reference } from './pickle.ts'
import { type RecordBody, RecordDraft, roomFor } from './record.ts'
import { classNamed, entryOf } from './registry.ts'
import type { State } from './state.ts'
import type { Change } from './storage/storage.ts'

/** What an object is to become; a change for the storage. */
export interface Draft extends Change {
  readonly cell: Cell
}

export class ObjectWriter {
  private readonly jar: Jar
  private readonly adopt: (object: Persistent, where: () => string) => Cell
  private owner: Cell | undefined
  private references: Oid[] | undefined
  private readonly refer: Refer = (object, place) => {
    this.references ??= []
    const known = cellOf(object)
    if (known === undefined) {
      const reference = object as Reference
      this.references.push(reference.oid)
      return renamed(reference)
    }
    const cell = known.jar === this.jar ? known : this.adopt(known.proxy, whereIn(this.owner as Cell, place))
    this.references.push(cell.oid)
    return referenceTo(cell)
  }

  /** @param adopt makes an object that belongs to no connection one of this; `where` tells a message where it was met */
  constructor(jar: Jar, adopt: (object: Persistent, where: () => string) => Cell) {
    this.jar = jar
    this.adopt = adopt
  }

  /**
   * What is to be stored of an object; the new ones that it refers to are adopted.
   * @throws {ObjectError} INVALID_VALUE, INVALID_REFERENCE, UNKNOWN_CLASS
   */
  encode(cell: Cell): Draft {
    const { oid, serial } = cell
    const { name, version } = classOf(cell)
    this.owner = cell
    this.references = undefined
    const state = cell.loaded()
    const record = new RecordDraft(name, version, pickle(state, this.refer, cell, roomFor(name), cell.bare))
    const within = cellOf(state._v_tree)?.oid || undefined
    return { cell, oid, serial, record, references: this.references ?? NONE, within }
  }

  /**
   * Whether an object is no longer as it is stored.
   * @param before the attributes that the record holds
   */
  differs(cell: Cell, stored: RecordBody, before: () => State): boolean {
    const known: Refer = object => {
      const other = cellOf(object)
      if (other === undefined) return renamed(object as Reference)
      if (other.jar !== this.jar) throw DIFFERENT
      return referenceTo(other)
    }
    try {
      const now = pickle(cell.loaded(), known, cell)
      if (Buffer.compare(now, stored.state) === 0) return false
      // it may be the same state, of an older version of its class or with older names of others
      return Buffer.compare(now, pickle(before(), known, cell)) !== 0
    } catch {
      return true
    }
  }
}

const NONE: readonly Oid[] = []
const DIFFERENT = new Error('refers to a new object')

const referenceTo = (cell: Cell): Reference => new Reference(cell.oid, cell.brokenName ?? classOf(cell).name)

/** A reference that nobody followed, with the present name of the class. */
function renamed(reference: Reference): Reference {
  const name = classNamed(reference.className)?.name ?? reference.className
  return name === reference.className ? reference : new Reference(reference.oid, name)
}

const whereIn = (owner: Cell, place: Place) => () => `attribute ${place.path} of ${placeOf(owner)}`

/** An object with its path, if it has one. */
export function placeOf(cell: Cell): string {
  try {
    const path = cell.proxy.physicalPath
    return path === '/' && cell.oid !== ROOT_OID ? `${cell}` : `${cell} at ${path}`
  } catch {
    // of a connection that has ended
    return `${cell}`
  }
}

/**
 * How an object's class is registered.
 * @param where the object was met, for the message
 * @throws {ObjectError} UNKNOWN_CLASS
 */
export function classOf(cell: Cell, where?: () => string): { name: string; version: number } {
  const entry = entryOf(cell.ctor)
  if (entry !== undefined) return entry
  const { name } = cell.proxy.constructor
  throw new ObjectError(
    'UNKNOWN_CLASS',
    `class ${name} is not registered, its objects cannot be stored${where === undefined ? '' : ` (${where()})`}; call registerClass('${name}', ${name}) first`,
  )
}
