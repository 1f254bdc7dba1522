/**
 * The outbox: rows that become durable together with a transaction. A row is stored as CRC-32 of its key and its value (4 bytes, big
 * endian), then the value. A damaged row is noticed, also one that stands under another key; what it asked for is not done.
 */
import { crc32 } from 'node:zlib'
import { ObjectError } from '../errors.ts'
import { outboxKey, range } from './keys.ts'
import { BINARY, entriesIn, type Level, type Operation } from './level.ts'

/** The rows whose keys begin with `prefix`; a damaged one has no value. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
export async function* outboxRows(
  level: Level,
  prefix: string,
): AsyncGenerator<[key: string, value: Uint8Array | undefined]> {
  for await (const [key, value] of entriesIn(level, { ...BINARY, ...range(outboxKey(prefix)) }))
    yield [key.toString('utf8', 1), decodeRow(key, value)]
}

/** Puts a row; undefined deletes it. @throws {ObjectError} INVALID_VALUE */
export function outboxOperation(key: string, value: Uint8Array | undefined): Operation {
  const bytes = outboxKey(key)
  return [bytes, value && encodeRow(bytes, value)]
}

function encodeRow(key: Buffer, value: Uint8Array): Buffer {
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
