/**
 * The record that each transaction leaves under its tid: who did what, what it wrote, and where the counters stood.
 *
 *   offset  bytes  content
 *   0       4      CRC-32 of the tid (8 bytes, big endian) and of everything from offset 4, big endian
 *   4              a state (lib/pickle.ts) with the attributes of StoredTransaction but the tid; those that are empty are left out
 *
 * `previous` chains the transactions, so a missing one is noticed. `classes` are the names of the classes of the objects, each once, in order.
 */
import { crc32 } from 'node:zlib'
import { messageOf, ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import { pickle, unpickle } from '../pickle.ts'
import { isPlain } from '../pickle-values.ts'
import { readUInt64 } from '../record.ts'
import { transactionKey } from './keys.ts'
import type { TransactionEntry } from './storage.ts'

export interface StoredTransaction extends TransactionEntry {
  readonly previous: Tid
  readonly nextOid: Oid
}

const CHECKSUM = 4

const checksum = (tid: Tid, bytes: Uint8Array): number =>
  crc32(bytes.subarray(CHECKSUM), crc32(transactionKey(tid).subarray(1)))

/** @throws {ObjectError} INVALID_VALUE for what cannot be stored of user, note and extension */
export function encodeTransaction(entry: StoredTransaction): Buffer {
  const { previous, nextOid, user, note, extension, oids, classes } = entry
  const state: Record<string, unknown> = { previous, nextOid }
  if (user !== '') state.user = text('user', user)
  if (note !== '') state.note = text('note', note)
  if (Object.keys(extension).length > 0) state.extension = { ...extension }
  if (oids.length > 0) state.oids = oids
  if (classes.length > 0) state.classes = classes
  const bytes = pickle(state, refuse, 'a transaction', CHECKSUM)
  bytes.writeUInt32BE(checksum(entry.tid, bytes))
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

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeTransaction(key: Buffer, bytes: Buffer): StoredTransaction {
  const tid = key.length === 9 ? readUInt64(key, 1) : 0
  if (tid === 0 || bytes.length < CHECKSUM || checksum(tid, bytes) !== bytes.readUInt32BE())
    throw corrupt(tid, 'its checksum does not agree')
  let found: Record<string, unknown>
  try {
    found = unpickle(bytes, noReference, CHECKSUM)
  } catch (error) {
    throw corrupt(tid, messageOf(error))
  }
  const { previous, nextOid, user = '', note = '', extension = {}, oids = [], classes = [] } = found
  if (
    !(isNumber(previous) && previous < tid && isNumber(nextOid)) ||
    !(typeof user === 'string' && typeof note === 'string' && isPlain(extension)) ||
    !(Array.isArray(oids) && oids.every(isNumber)) ||
    !(Array.isArray(classes) && classes.every(each => typeof each === 'string'))
  )
    throw corrupt(tid, 'it is none')
  return { tid, previous, nextOid, user, note, extension, oids, classes }
}

const isNumber = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

function corrupt(tid: Tid, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the record of transaction ${tid} is damaged: ${what}; restore the database from a backup`,
  )
}
