/**
 * The record: what is stored under an object's key.
 *
 *   offset  bytes  content
 *   0       1      format, 1
 *   1       4      CRC-32 of the oid (8 bytes, big endian) and of everything from offset 5, big endian
 *   5       8      serial: the tid of the transaction that wrote it, big endian
 *   13      8      serial of the revision before, big endian; 0 if there was none
 *   21      2      version of the class's state, big endian
 *   23      1      length of the class name in bytes; 0 if the transaction took the object back (undo of its creation)
 *   24      n      class name, UTF-8
 *   24+n           the state (see pickle.ts)
 *
 * The checksum covers the oid, so a record that turns up under another key is noticed too. A damaged record is an error
 * (DATABASE_CORRUPT), never a wrong answer.
 */
import { crc32 } from 'node:zlib'
import { ObjectError } from './errors.ts'
import type { Oid, Tid } from './persistent.ts'

/** A record without its oid and serial, as a connection hands it to the storage. */
export interface RecordBody {
  readonly className: string
  readonly version: number
  /** The pickled state. */
  readonly state: Uint8Array
}

export interface StoredRecord extends RecordBody {
  readonly serial: Tid
  /** The serial of the revision before; 0 if there was none. */
  readonly previous: Tid
}

/** What is stored for an object whose creation has been undone. */
export const GONE: RecordBody = { className: '', version: 0, state: new Uint8Array() }

export const isGone = (record: RecordBody): boolean => record.className === ''

const FORMAT = 1
const HEADER = 24
const MAX_NAME = 255
const seed = Buffer.alloc(8)

function checksum(oid: Oid, bytes: Uint8Array): number {
  writeUInt64(seed, oid, 0)
  return crc32(bytes.subarray(5), crc32(seed))
}

/** Writes a whole number below 2^53 as 8 bytes, big endian. */
export function writeUInt64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset)
  bytes.writeUInt32BE(value % 0x1_0000_0000, offset + 4)
}

export function readUInt64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32BE(offset) * 0x1_0000_0000 + bytes.readUInt32BE(offset + 4)
}

export function encodeRecord(oid: Oid, record: StoredRecord): Buffer {
  const nameLength = Buffer.byteLength(record.className)
  if (nameLength > MAX_NAME)
    throw new ObjectError(
      'INVALID_CLASS',
      `class name '${record.className}' has ${nameLength} bytes; at most ${MAX_NAME} can be stored`,
    )
  const bytes = Buffer.allocUnsafe(HEADER + nameLength + record.state.length)
  bytes[0] = FORMAT
  writeUInt64(bytes, record.serial, 5)
  writeUInt64(bytes, record.previous, 13)
  bytes.writeUInt16BE(record.version, 21)
  bytes[23] = nameLength
  bytes.write(record.className, HEADER)
  bytes.set(record.state, HEADER + nameLength)
  bytes.writeUInt32BE(checksum(oid, bytes), 1)
  return bytes
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeRecord(oid: Oid, bytes: Buffer): StoredRecord {
  if (bytes.length < HEADER || bytes[0] !== FORMAT || bytes.length < HEADER + bytes[23]!)
    throw corrupt(oid, 'its header is damaged')
  if (checksum(oid, bytes) !== bytes.readUInt32BE(1)) throw corrupt(oid, 'its checksum does not agree')
  const end = HEADER + bytes[23]!
  return {
    serial: readUInt64(bytes, 5),
    previous: readUInt64(bytes, 13),
    version: bytes.readUInt16BE(21),
    className: bytes.toString('utf8', HEADER, end),
    state: bytes.subarray(end),
  }
}

/** The serial of a record, unchecked. */
export const serialOf = (bytes: Buffer): Tid => readUInt64(bytes, 5)

function corrupt(oid: Oid, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the record of object ${oid} (key o${oid.toString(16).padStart(16, '0')}) is damaged: ${what}; restore the database from a backup`,
  )
}
