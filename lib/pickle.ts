/**
 * The state of one persistent object, to bytes and back (ZODB: serialize).
 *
 * Format: one MessagePack map from attribute names to values. Strings, finite numbers, booleans, null, undefined, bigints, dates,
 * arrays, plain objects, Buffers and typed arrays are MessagePack's and msgpackr's own. Two extension types are ours
 * (lib/pickle-values.ts):
 *
 *   82  reference   [oid, class name]: another persistent object
 *   83  special     [kind, …]: what MessagePack cannot say exactly, see KINDS there
 *
 * Nothing in a record is code, and none of its names is followed as one: a class is known by the name it was registered under.
 * A state is encoded as a tree; where an inner value is shared or contains itself, the whole state is a `graph` instead: the record, and a
 * list of all arrays, objects, Maps, Sets …, in which `node` stands for the one with that number. The same state always gives the same
 * bytes, and every number, length and text the shortest that there is.
 */
import { messageOf, ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import type { Persistent } from './persistent.ts'
import { StateReader } from './pickle-reader.ts'
import { StateWriter } from './pickle-writer.ts'
import { Reference } from './reference.ts'
import type { State } from './state.ts'

export { Reference }

/** Where in a state a value was met. */
export interface Place {
  /** The attribute path, as `items[3].price`. */
  readonly path: string
}
/** Gives the reference to store for `object`, or for a reference that stands where nobody asked for the object. */
export type Refer = (object: Persistent | Reference, place: Place) => Reference
/** Gives the object that a reference stands for. */
export type Resolve = (reference: Reference) => unknown
/** Leaves references as they are. */
export const asItStands = (reference: Reference): Reference => reference

const writer = new StateWriter()
let writing = false
// one is enough, unless what it asks for references asks for more
let reader: StateReader | undefined = new StateReader()

/**
 * @param state attributes; those that begin with `_v_` are left out
 * @param owner what the state belongs to; its `toString` is used in messages
 * @param room bytes to be left free in front of the state, for a header
 * @param bare whether nobody but its class has had the arrays that are attributes: they are taken to hold their elements, and nothing else
 * @throws {ObjectError} INVALID_VALUE naming the attribute path; whatever `refer` throws
 */
export function pickle(state: State, refer: Refer, owner: unknown, room = 0, bare = false): Buffer {
  if (writing)
    throw new ObjectError(
      'INVALID_VALUE',
      `${owner} cannot be stored while a value of another object is: a getter or proxy among these values runs code; store what it gives instead`,
    )
  writing = true
  try {
    return writer.write(state, refer, owner, room, bare)
  } finally {
    writing = false
  }
}

/**
 * @param at where in the bytes the state begins
 * @param record is filled with the attributes; a state that is a graph comes in a record of its own
 * @param bare leaves references that are elements of an array that is an attribute (BARE in lib/persistent.ts)
 * @throws {ObjectError} DATABASE_CORRUPT if the bytes are not a state
 */
export function unpickle(
  bytes: Uint8Array,
  resolve: Resolve,
  at = 0,
  record: Record<string, unknown> = {},
  bare = false,
): Record<string, unknown> {
  const own = reader ?? new StateReader()
  reader = undefined
  try {
    const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return own.read(buffer, at, resolve, record, bare)
  } catch (error) {
    if (error instanceof ObjectError) throw error
    throw new ObjectError('DATABASE_CORRUPT', `a record cannot be decoded: ${messageOf(error)}`, { cause: error })
  } finally {
    reader = own
  }
}

/** The oids that a state refers to, each once. */
export function referencesOf(state: Uint8Array): Oid[] {
  const oids = new Set<Oid>()
  unpickle(state, ({ oid }) => void oids.add(oid))
  return [...oids]
}
