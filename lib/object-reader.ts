/** Makes states of records (ZODB: ObjectReader). */
import { asState, type Cell, type State } from './persistent.ts'
import { type Resolve, unpickle } from './pickle.ts'
import { type RecordBody, WholeRecord } from './record.ts'
import { classNamed, upgraded } from './registry.ts'

/**
 * A record's attributes, as the registered version of its class has them.
 * @throws {ObjectError} UNKNOWN_CLASS if the record is newer than the class; DATABASE_CORRUPT; what upgrading throws
 */
export function attributesOf(cell: Cell, stored: RecordBody, resolve: Resolve): State {
  const { className, version } = stored
  const entry = classNamed(className)
  const outdated = entry !== undefined && entry.version !== version
  const record = outdated ? {} : cell.newState()
  const state =
    stored instanceof WholeRecord
      ? unpickle(stored.bytes, resolve, stored.start, record)
      : unpickle(stored.state, resolve, 0, record)
  if (state === record && !outdated) return state
  return asState(outdated ? upgraded(state, entry, version) : state)
}

/** Bytes of a record's state. */
export const sizeOf = (stored: RecordBody): number =>
  stored instanceof WholeRecord ? stored.bytes.length - stored.start : stored.state.length
