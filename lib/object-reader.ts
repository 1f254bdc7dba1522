/** Makes states of records (ZODB: ObjectReader). */

import type { Cell } from './cell.ts'
import { ObjectError } from './errors.ts'
import { type Resolve, unpickle } from './pickle.ts'
import { keyText, type RecordBody, WholeRecord } from './record.ts'
import { classNamed, upgraded } from './registry.ts'
import { fillShared } from './shared-state.ts'
import { asState, type State } from './state.ts'

/**
 * A record's attributes, as the registered version of its class has them.
 * @throws {ObjectError} UNKNOWN_CLASS if the record is newer than the class; DATABASE_CORRUPT; what upgrading throws
 */
export function attributesOf(cell: Cell, stored: RecordBody, resolve: Resolve): State {
  const { className, version } = stored
  const entry = classNamed(className)
  const outdated = entry !== undefined && entry.version !== version
  const record = outdated ? {} : cell.newState()
  const state = decoded(cell, stored, resolve, record, outdated)
  if (state === record && !outdated) return state
  return asState(outdated ? upgraded(state, entry, version, `object ${cell.oid}`) : state)
}

function decoded(cell: Cell, stored: RecordBody, resolve: Resolve, record: State, outdated: boolean): State {
  const bare = cell.loadsBare && !outdated
  try {
    if (!(stored instanceof WholeRecord)) return unpickle(stored.state, resolve, 0, record, bare)
    if (!outdated && fillShared(stored, record, bare, resolve)) return record
    const state = unpickle(stored.bytes, resolve, stored.start, record, bare)
    if (outdated || cell.isSound(state)) return state
    stored.shared = 'unfit'
    throw new ObjectError('DATABASE_CORRUPT', 'its state is none of its class; restore the database from a backup')
  } catch (error) {
    if (!(error instanceof ObjectError) || error.code !== 'DATABASE_CORRUPT') throw error
    const { className } = stored
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `${className} (object ${cell.oid}, ${keyText(cell.oid)}): ${error.message}`,
      {
        cause: error.cause,
      },
    )
  }
}

/** Bytes of a record's state. */
export const sizeOf = (stored: RecordBody): number =>
  stored instanceof WholeRecord ? stored.bytes.length - stored.start : stored.state.length
