/**
 * A weak reference to a persistent object (ZODB's WeakRef): it finds the object as long as it is there and does not keep it there.
 *
 * It holds the object's oid and the id of its database as plain data, which pack does not follow. An object that was taken out of the tree is
 * found until it is packed away. In another database (an import, say) it finds nothing.
 */

import { cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import { ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import { Persistent } from './persistent.ts'
import { registerClass } from './registry.ts'

/** A reference that does not keep its object: a pack may remove that, and `deref` finds nothing then. */
export class PersistentRef<T extends Persistent = Persistent> extends Persistent {
  readonly oid: Oid
  /** The id of the database. */
  readonly database: string
  declare private readonly _v_object: T | undefined

  /** @throws {ObjectError} NOT_CONNECTED if the object has no oid yet */
  constructor(object: T) {
    super()
    const cell = cellOf(object)
    if (cell?.jar === undefined)
      throw new ObjectError(
        'NOT_CONNECTED',
        `a PersistentRef needs a stored object, found a ${object?.constructor?.name ?? typeof object} without oid; give it one with connection.add(), or commit it first`,
      )
    this.oid = cell.oid
    this.database = (cell.jar as Connection).database.id
    this._v_object = object
  }

  /** The object; undefined if it has been packed away, its creation was undone, or it belongs to another database. */
  deref(): T | undefined {
    const connection = (this._p_jar ?? this._v_object?._p_jar) as Connection | undefined
    if (connection?.database.id !== this.database) return undefined
    try {
      const object = connection.get(this.oid)
      cellOf(object)?.loaded()
      return object as T
    } catch (error) {
      if (error instanceof ObjectError && error.code === 'OBJECT_NOT_FOUND') return undefined
      throw error
    }
  }
}

registerClass('PersistentRef', PersistentRef)
