/**
 * Objects of classes that are not registered, on their way through an export file.
 *
 * Their records are made here, since a connection makes those of registered classes only.
 */

import { type Cell, cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import type { Oid } from './ids.ts'
import type { Persistent } from './persistent.ts'
import { pickle, type Refer, Reference } from './pickle.ts'
import type { RecordBody } from './record.ts'
import type { State } from './state.ts'
import { classNameOf } from './subtree.ts'

/** The version of its class with which a stored object was written. */
export function brokenVersion(object: Persistent): number {
  const { oid, jar } = cellOf(object) as Cell
  return (jar as Connection).storedVersion(oid)
}

/** A new object, and how its record knows its class. */
export interface StagedObject {
  readonly cell: Cell
  readonly className: string
  readonly version: number
}

/** Makes these objects part of the connection's transaction. */
export function addBroken(connection: Connection, broken: readonly StagedObject[]): void {
  for (const { cell } of broken) connection.addBroken(cell)
  for (const { cell, className, version } of broken) {
    const references: Oid[] = []
    const refer: Refer = met => {
      const object = met as Persistent
      references.push(connection.add(object))
      return new Reference(references.at(-1) as Oid, classNameOf(object))
    }
    const record: RecordBody = { className, version, state: pickle(cell.state as State, refer, className) }
    connection.storeBroken(cell, record, references)
  }
}
