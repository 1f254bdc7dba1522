/**
 * Reading the state of an object from bytes that are not trusted.
 *
 * Before anything is decoded, the bytes are walked through: every length they claim must be there, and every extension type must be one that
 * a state has (lib/pickle.ts), so that no claim can make the decoder allocate more than the bytes are worth. What is decoded must
 * give the same bytes when it is encoded again, so there is no state that we could not have written ourselves.
 */
import { ObjectError } from './errors.ts'
import { pickle, type Reference, unpickle } from './pickle.ts'
import { LEAF_TYPES } from './pickle-leaves.ts'
import { REFERENCE, SPECIAL } from './pickle-values.ts'
import { asState } from './state.ts'

/**
 * The attributes, with references as they stand, and each reference once.
 * @throws {ObjectError} DATABASE_CORRUPT saying what is wrong
 */
export function soundState(bytes: Buffer): { state: Record<string, unknown>; references: Reference[] } {
  walk(bytes)
  const references = new Map<number, Reference>()
  const state = unpickle(bytes, reference => {
    const known = references.get(reference.oid) ?? reference
    if (known.className !== reference.className) throw damaged(`object ${reference.oid} has two classes`)
    references.set(reference.oid, known)
    return known
  })
  if (!bytes.equals(encoded(state))) throw damaged('it is not as it is written')
  return { state, references: [...references.values()] }
}

function encoded(state: Record<string, unknown>): Buffer {
  try {
    return pickle(asState({ ...state }), reference => reference as Reference, 'a state')
  } catch (cause) {
    throw damaged('it holds what cannot be stored', cause)
  }
}

/** Extension types for undefined, bigints, typed arrays and dates. */
const PLAIN_TYPES = [0x00, ...LEAF_TYPES]

/** Checks that the bytes are exactly one MessagePack value of the kinds that a state has. */
function walk(bytes: Buffer): void {
  let at = 0
  /** Values that are still to come. */
  let awaited = 1
  const take = (count: number): number => {
    at += count
    if (at > bytes.length) throw damaged('it ends too early')
    return at - count
  }
  const number = (size: number): number => bytes.readUIntBE(take(size), size)
  const extension = (size: number): void => {
    const type = number(1)
    if (size === 1 && (type === REFERENCE || type === SPECIAL)) awaited += 1
    else if (!PLAIN_TYPES.includes(type)) throw damaged(`extension type ${type} is none of ours`)
    take(size)
  }
  for (; awaited > 0; awaited--) {
    const head = number(1)
    if (head < 0x80 || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) continue
    else if (head < 0x90) awaited += (head & 0x0f) * 2
    else if (head < 0xa0) awaited += head & 0x0f
    else if (head < 0xc0) take(head & 0x1f)
    else if (head === 0xc1) throw damaged('it holds a byte that begins no value')
    else if (head < 0xc7) take(number(2 ** (head - 0xc4)))
    else if (head < 0xca) extension(number(2 ** (head - 0xc7)))
    else if (head < 0xcc) take(2 ** (head - 0xc8))
    else if (head < 0xd0) take(2 ** (head - 0xcc))
    else if (head < 0xd4) take(2 ** (head - 0xd0))
    else if (head < 0xd9) extension(2 ** (head - 0xd4))
    else if (head < 0xdc) take(number(2 ** (head - 0xd9)))
    else if (head < 0xde) awaited += number(2 ** (head - 0xdb))
    else awaited += number(2 ** (head - 0xdd)) * 2
    if (awaited - 1 > bytes.length - at) throw damaged('it claims more values than it has')
  }
  if (at !== bytes.length) throw damaged('something follows it')
}

const damaged = (what: string, cause?: unknown) =>
  new ObjectError('DATABASE_CORRUPT', `not a sound state: ${what}`, { cause })
