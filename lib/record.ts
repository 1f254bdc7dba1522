/**
 * The record: what is stored under an object's key.
 *
 *   offset  bytes  content
 *   0       1      format, 1
 *   1       4      CRC-32, big endian: of the record with the lower half of the oid in this place, begun with the upper half (`seal`)
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
import type { Oid, Tid } from './ids.ts'
import { nameIn } from './names.ts'
import type { SharedState } from './shared-state.ts'

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
export const MAX_NAME = 255
const HIGH = 0x1_0000_0000

/** A record as it is stored. */
export class WholeRecord implements StoredRecord {
  readonly oid: Oid
  readonly serial: Tid
  readonly previous: Tid
  readonly version: number
  readonly className: string
  readonly bytes: Buffer
  /** Where in the bytes the state begins. */
  readonly start: number
  /** What is known of the state by its earlier readers (lib/shared-state.ts). */
  shared: SharedState | undefined

  constructor(oid: Oid, bytes: Buffer, start: number, className: string, version: number, serial: Tid, previous: Tid) {
    this.oid = oid
    this.bytes = bytes
    this.start = start
    this.className = className
    this.version = version
    this.serial = serial
    this.previous = previous
    this.shared = undefined
  }

  get state(): Buffer {
    return this.bytes.subarray(this.start)
  }
}

/** A record that has room for its header in front of the state, so that it can become whole in its place. */
export class RecordDraft implements RecordBody {
  readonly className: string
  readonly version: number
  readonly bytes: Buffer

  /** @param bytes `roomFor(className)` bytes, and the state */
  constructor(className: string, version: number, bytes: Buffer) {
    this.className = className
    this.version = version
    this.bytes = bytes
  }

  get state(): Buffer {
    return this.bytes.subarray(roomFor(this.className))
  }
}

let sized = ''
let room = HEADER

/** How many bytes come before the state. @throws {ObjectError} INVALID_CLASS if the name is too long */
export function roomFor(className: string): number {
  if (className === sized) return room
  const length = Buffer.byteLength(className)
  if (length > MAX_NAME)
    throw new ObjectError(
      'INVALID_CLASS',
      `class name '${className}' has ${length} bytes; at most ${MAX_NAME} can be stored`,
    )
  sized = className
  room = HEADER + length
  return room
}

/**
 * Puts a checksum into bytes that also covers the number under which they are stored: CRC-32 of the bytes with the lower half of the number
 * in its place, begun with the upper half.
 * @param at where its 4 bytes are
 */
export function seal(number: number, bytes: Buffer, at: number): void {
  writeUInt32(bytes, number % HIGH, at)
  writeUInt32(bytes, crc32(bytes, Math.floor(number / HIGH)), at)
}

/** Whether bytes are as they were sealed. */
export function isSealed(number: number, bytes: Buffer, at: number): boolean {
  const expected = readUInt32(bytes, at)
  writeUInt32(bytes, number % HIGH, at)
  const found = crc32(bytes, Math.floor(number / HIGH))
  writeUInt32(bytes, expected, at)
  return found === expected
}

function writeUInt32(bytes: Buffer, value: number, offset: number): void {
  bytes[offset] = value >>> 24
  bytes[offset + 1] = value >>> 16
  bytes[offset + 2] = value >>> 8
  bytes[offset + 3] = value
}

function readUInt32(bytes: Buffer, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) | bytes[offset + 3]!) >>> 0
}

/** Writes a whole number below 2^53 as 8 bytes, big endian. */
export function writeUInt64(bytes: Buffer, value: number, offset: number): void {
  writeUInt32(bytes, Math.floor(value / HIGH), offset)
  writeUInt32(bytes, value % HIGH, offset + 4)
}

export function readUInt64(bytes: Buffer, offset: number): number {
  return readUInt32(bytes, offset) * HIGH + readUInt32(bytes, offset + 4)
}

/** Makes a record whole. A draft is not to be used any more. */
export function wholeRecord(oid: Oid, record: RecordBody, serial: Tid, previous: Tid): WholeRecord {
  const { className, version } = record
  const bytes = wholeBytes(oid, record, serial, previous)
  return new WholeRecord(oid, bytes, roomFor(className), className, version, serial, previous)
}

/** The bytes of the record made whole. A draft is not to be used any more. */
export function wholeBytes(oid: Oid, record: RecordBody, serial: Tid, previous: Tid): Buffer {
  const { className, version } = record
  const start = roomFor(className)
  let bytes: Buffer
  if (record instanceof RecordDraft) bytes = record.bytes
  else {
    const { state } = record
    bytes = Buffer.allocUnsafe(start + state.length)
    bytes.set(state, start)
  }
  bytes[0] = FORMAT
  writeUInt64(bytes, serial, 5)
  writeUInt64(bytes, previous, 13)
  bytes[21] = version >>> 8
  bytes[22] = version
  bytes[23] = start - HEADER
  writeName(bytes, className, start)
  seal(oid, bytes, 1)
  return bytes
}

function writeName(bytes: Buffer, name: string, end: number): void {
  if (end - HEADER === name.length) for (let i = 0; i < name.length; i++) bytes[HEADER + i] = name.charCodeAt(i)
  else bytes.write(name, HEADER)
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeRecord(oid: Oid, bytes: Buffer): WholeRecord {
  if (bytes.length < HEADER || bytes[0] !== FORMAT || bytes.length < HEADER + bytes[23]!)
    throw corrupt(oid, 'its header is damaged')
  if (!isSealed(oid, bytes, 1)) throw corrupt(oid, 'its checksum does not agree')
  const start = HEADER + bytes[23]!
  const className = nameIn(bytes, HEADER, start)
  const version = bytes[21]! * 0x100 + bytes[22]!
  return new WholeRecord(oid, bytes, start, className, version, readUInt64(bytes, 5), readUInt64(bytes, 13))
}

/** The serial of a record, unchecked. */
export const serialOf = (bytes: Buffer): Tid => readUInt64(bytes, 5)

/** What messages call an object's key. */
export const keyText = (oid: Oid): string => `key o${oid.toString(16).padStart(16, '0')}`

function corrupt(oid: Oid, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the record of object ${oid} (${keyText(oid)}) is damaged: ${what}; restore the database from a backup`,
  )
}
