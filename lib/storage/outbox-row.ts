/**
 * An outbox row as it is stored: CRC-32 of its key and its value (4 bytes, big endian), then the value. A damaged row is noticed, also one
 * that stands under another key; what it asked for is not done.
 */
import { crc32 } from 'node:zlib'
import { ObjectError } from '../errors.ts'

/** @throws {ObjectError} INVALID_VALUE */
export function encodeRow(key: Buffer, value: Uint8Array): Buffer {
  if (!(value instanceof Uint8Array))
    throw new ObjectError(
      'INVALID_VALUE',
      `the outbox row ${key.toString('utf8', 1)} must be bytes, found ${typeof value}`,
    )
  const row = Buffer.allocUnsafe(4 + value.length)
  row.writeUInt32BE(crc32(value, crc32(key)), 0)
  row.set(value, 4)
  return row
}

/** @returns the value; undefined if it is damaged */
export function decodeRow(key: Buffer, row: Buffer): Uint8Array | undefined {
  if (row.length < 4) return undefined
  const value = row.subarray(4)
  return crc32(value, crc32(key)) === row.readUInt32BE(0) ? value : undefined
}
