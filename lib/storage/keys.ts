/**
 * The keys of the LevelDB directory. All are binary; the first byte tells the kind.
 *
 *   m <name>       meta: `m format` holds JSON { format, id, created }
 *   o <oid:8>      current record of an object (record.ts)
 *   t <tid:8>      a transaction: CRC-32 (4 bytes), then MessagePack [previous tid, next oid, user, note, oids]
 *   x <key>        an outbox row
 *
 * Numbers are big endian, so that LevelDB's order is theirs.
 */
import type { Oid, Tid } from '../persistent.ts'
import { writeUInt64 } from '../record.ts'

const numbered = (kind: string, number: number): Buffer => {
  const key = Buffer.allocUnsafe(9)
  key[0] = kind.charCodeAt(0)
  writeUInt64(key, number, 1)
  return key
}

export const objectKey = (oid: Oid): Buffer => numbered('o', oid)
export const transactionKey = (tid: Tid): Buffer => numbered('t', tid)
export const outboxKey = (key: string): Buffer => Buffer.from(`x${key}`)
export const FORMAT_KEY = Buffer.from('mformat')

/** The range of all keys of a kind. */
export const range = (prefix: Buffer): { gte: Buffer; lt: Buffer } => {
  const end = Buffer.from(prefix)
  end[end.length - 1]! += 1
  return { gte: prefix, lt: end }
}
