/**
 * The keys of the LevelDB directory. All are binary; the first byte tells the kind.
 *
 *   m <name>             meta: `m format` holds JSON { format, id, created }; `m packed` how far history was packed (meta.ts)
 *   o <oid:8>            current revision of an object (record.ts)
 *   r <oid:8> <tid:8>    an earlier revision of an object, by its serial
 *   t <tid:8>            a transaction (transaction-record.ts)
 *   x <key>              an outbox row
 *
 * Numbers are big endian, so that LevelDB's order is theirs. When an object is written again, its current record moves to `r` as it is; so
 * a new object is written once, and the newest revision is always one `get` away.
 */
import type { Oid, Tid } from '../ids.ts'
import { readUInt64, writeUInt64 } from '../record.ts'

const numbered = (kind: number, number: number, key: Buffer): Buffer => {
  key[0] = kind
  writeUInt64(key, number, 1)
  return key
}

/** @param into is filled, if there is one */
export const objectKey = (oid: Oid, into: Buffer = Buffer.allocUnsafe(9)): Buffer => numbered(0x6f, oid, into)
export const transactionKey = (tid: Tid): Buffer => numbered(0x74, tid, Buffer.allocUnsafe(9))
export const outboxKey = (key: string): Buffer => Buffer.from(`x${key}`)
export const FORMAT_KEY = Buffer.from('mformat')
export const PACKED_KEY = Buffer.from('mpacked')

export function revisionKey(oid: Oid, tid: Tid): Buffer {
  const key = Buffer.allocUnsafe(17)
  key[0] = 0x72
  writeUInt64(key, oid, 1)
  writeUInt64(key, tid, 9)
  return key
}

export const oidOf = (key: Buffer): Oid => readUInt64(key, 1)
export const tidOf = (key: Buffer): Tid => readUInt64(key, key[0] === 0x72 ? 9 : 1)

/** The range of all keys of a kind. */
export const range = (prefix: Buffer): { gte: Buffer; lt: Buffer } => {
  const end = Buffer.from(prefix)
  end[end.length - 1]! += 1
  return { gte: prefix, lt: end }
}
