/**
 * The record that each transaction leaves under its tid: who did what, what it wrote, and where the counters stood.
 *
 *   offset  bytes  content
 *   0       4      CRC-32 of the tid (8 bytes, big endian) and of everything from offset 4, big endian
 *   4              MessagePack [previous tid, next oid, user, note, extension, oids, classes]
 *
 * `previous` chains the transactions, so a missing one is noticed. `classes` are the names of the classes of the objects, each once, in order.
 */
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { messageOf, ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import { readUInt64 } from '../record.ts'
import { transactionKey } from './keys.ts'
import type { TransactionEntry } from './storage.ts'

export interface StoredTransaction extends TransactionEntry {
  readonly previous: Tid
  readonly nextOid: Oid
}

const packr = new Packr({ useRecords: false, moreTypes: false, int64AsType: 'number' })

const checksum = (tid: Tid, bytes: Uint8Array): number =>
  crc32(bytes.subarray(4), crc32(transactionKey(tid).subarray(1)))

export function encodeTransaction(entry: StoredTransaction): Buffer {
  const { previous, nextOid, user, note, extension, oids, classes } = entry
  const body = packr.pack([previous, nextOid, user, note, extension, oids, classes])
  const bytes = Buffer.allocUnsafe(4 + body.length)
  bytes.set(body, 4)
  bytes.writeUInt32BE(checksum(entry.tid, bytes))
  return bytes
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeTransaction(key: Buffer, bytes: Buffer): StoredTransaction {
  const tid = readUInt64(key, 1)
  if (key.length !== 9 || bytes.length < 4 || checksum(tid, bytes) !== bytes.readUInt32BE())
    throw corrupt(tid, 'its checksum does not agree')
  try {
    const [previous, nextOid, user, note, extension, oids, classes] = packr.unpack(bytes.subarray(4)) as [
      Tid,
      Oid,
      string,
      string,
      Record<string, unknown>,
      Oid[],
      string[],
    ]
    return { tid, previous, nextOid, user, note, extension, oids, classes }
  } catch (error) {
    throw corrupt(tid, messageOf(error))
  }
}

function corrupt(tid: Tid, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the record of transaction ${tid} is damaged: ${what}; restore the database from a backup`,
  )
}
