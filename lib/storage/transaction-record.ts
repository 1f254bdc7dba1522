/**
 * The record that each transaction leaves under its tid: who did what, what it wrote, and where the counters stood.
 *
 *   offset  bytes  content
 *   0       4      CRC-32, big endian: as in a record (lib/record.ts, `seal`), of the tid and everything from offset 4
 *   4       8      tid of the transaction before, big endian; 0 if there was none
 *   12      8      the oid that is given next, big endian
 *   20             a state (lib/pickle.ts): `user`, `note`, `extension`, `oids`, `classes`, `within`; those that are empty are left out
 *
 * The transactions are a chain, so a missing one is noticed. `classes` are the names of the classes of the objects, each once, in order; `within`
 * is a Map that has under the oid of a structure (a BTree) those of the oids that are parts of it.
 */
import { shown } from '../arguments.ts'
import { messageOf, ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import { pickle, unpickle } from '../pickle.ts'
import { isPlain } from '../pickle-values.ts'
import { isSealed, readUInt64, seal, writeUInt64 } from '../record.ts'
import type { TransactionEntry, Within } from './storage.ts'

/** Where the counters stood after a transaction. */
export interface Counters {
  readonly tid: Tid
  readonly previous: Tid
  readonly nextOid: Oid
}

export interface StoredTransaction extends TransactionEntry, Counters {}

const HEADER = 20

/** @throws {ObjectError} INVALID_VALUE for what cannot be stored of user, note and extension */
export function encodeTransaction(entry: StoredTransaction): Buffer {
  const { tid, previous, nextOid, user, note, extension, oids, classes, within } = entry
  const state: Record<string, unknown> = {}
  if (user !== '') state.user = text('user', user)
  if (note !== '') state.note = text('note', note)
  if (!isPlain(extension))
    throw new ObjectError(
      'INVALID_VALUE',
      `the extension of a transaction must be a plain object, found ${shown(extension)}`,
    )
  if (Object.keys(extension).length > 0) state.extension = { ...extension }
  if (oids.length > 0) state.oids = oids
  if (classes.length > 0) state.classes = classes
  if (within !== undefined) state.within = within
  const bytes = pickle(state, refuse, 'a transaction', HEADER)
  writeUInt64(bytes, previous, 4)
  writeUInt64(bytes, nextOid, 12)
  seal(tid, bytes, 0)
  return bytes
}

function text(name: string, value: unknown): string {
  if (typeof value === 'string') return value
  throw new ObjectError('INVALID_VALUE', `the ${name} of a transaction must be a text, found ${typeof value}`)
}

function refuse(_object: unknown, { path }: { readonly path: string }): never {
  throw new ObjectError(
    'INVALID_VALUE',
    `${path} of a transaction is a persistent object; only plain values can be kept with a transaction`,
  )
}

function noReference(): never {
  throw new Error('it refers to an object')
}

/** The counters alone: they take no longer where there were many objects. @throws {ObjectError} DATABASE_CORRUPT */
export function decodeCounters(key: Buffer, bytes: Buffer): Counters {
  const tid = key.length === 9 ? readUInt64(key, 1) : 0
  if (tid === 0 || bytes.length < HEADER || !isSealed(tid, bytes, 0)) throw corrupt(tid, 'its checksum does not agree')
  const previous = readUInt64(bytes, 4)
  const nextOid = readUInt64(bytes, 12)
  if (!(isNumber(previous) && previous < tid && isNumber(nextOid))) throw corrupt(tid, 'it is none')
  return { tid, previous, nextOid }
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeTransaction(key: Buffer, bytes: Buffer): StoredTransaction {
  const counters = decodeCounters(key, bytes)
  let found: Record<string, unknown>
  try {
    found = unpickle(bytes, noReference, HEADER)
  } catch (error) {
    throw corrupt(counters.tid, messageOf(error))
  }
  const { user = '', note = '', extension = {}, oids = [], classes = [], within } = found
  if (
    !(typeof user === 'string' && typeof note === 'string' && isPlain(extension)) ||
    !areNumbers(oids) ||
    !(Array.isArray(classes) && classes.every(each => typeof each === 'string')) ||
    !(within === undefined || isWithin(within))
  )
    throw corrupt(counters.tid, 'it is none')
  return { ...counters, user, note, extension, oids, classes, ...(within !== undefined && { within }) }
}

const isWithin = (value: unknown): value is Within =>
  value instanceof Map && areNumbers([...value.keys()]) && [...value.values()].every(areNumbers)

const areNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.every(isNumber)

const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function corrupt(tid: Tid, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the record of transaction ${tid} is damaged: ${what}; restore the database from a backup`,
  )
}
