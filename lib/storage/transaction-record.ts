/** The row that each transaction leaves (see keys.ts): who did what, and where the counters stood. */
import { crc32 } from 'node:zlib'
import { Packr } from 'msgpackr'
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import { readUInt64 } from '../record.ts'
import type { CommitEvent } from './storage.ts'

const packr = new Packr({ useRecords: false })

export function encodeTransaction(event: CommitEvent, previous: Tid, nextOid: Oid): Buffer {
  const body = packr.pack([previous, nextOid, event.user, event.note, event.oids])
  const bytes = Buffer.allocUnsafe(4 + body.length)
  bytes.writeUInt32BE(crc32(body))
  bytes.set(body, 4)
  return bytes
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function decodeTransaction(
  key: Buffer,
  bytes: Buffer,
): { tid: Tid; previous: Tid; nextOid: Oid; user: string; note: string; oids: Oid[] } {
  const tid = readUInt64(key, 1)
  const body = bytes.subarray(4)
  if (bytes.length < 4 || crc32(body) !== bytes.readUInt32BE())
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `the record of transaction ${tid} is damaged: its checksum does not agree; restore the database from a backup`,
    )
  const [previous, nextOid, user, note, oids] = packr.unpack(body) as [Tid, Oid, string, string, Oid[]]
  return { tid, previous, nextOid, user, note, oids }
}
