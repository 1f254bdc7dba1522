/**
 * Reading a database of which a table file is damaged. A damaged table may hide the newest revision of an object, and an older one would
 * be read in its place; so what every object must be at is worked out from the transactions, and what is not there is an error.
 */
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../persistent.ts'
import type { StoredRecord } from '../record.ts'
import { range } from './keys.ts'
import { BINARY, type Level } from './level.ts'
import { decodeTransaction } from './transaction-record.ts'

export interface Packed {
  /** The last transaction whose history was forgotten; 0 if none was. */
  readonly tid: Tid
  /** How many transactions up to it were left; undefined if that is not known. */
  readonly left: number | undefined
}

export class Suspicion {
  private readonly where: string
  private readonly serials = new Map<Oid, Tid>()
  /** The newest transaction that is missing: an object last written before may have been written in it. */
  private missing: Tid = 0

  private constructor(where: string) {
    this.where = where
  }

  static async of(level: Level, where: string, packed: Packed): Promise<Suspicion> {
    const suspicion = new Suspicion(where)
    let last: Tid | undefined
    let left = 0
    for await (const [key, value] of level.iterator({ ...BINARY, ...range(Buffer.from('t')) })) {
      const entry = readable(key, value)
      if (entry === undefined) continue
      for (const oid of entry.oids) suspicion.serials.set(oid, entry.tid)
      if (entry.tid <= packed.tid) left += 1
      else if (entry.previous > packed.tid && entry.previous !== last) suspicion.missing = entry.previous
      last = entry.tid
    }
    if (packed.left !== undefined && packed.left !== left) suspicion.missing = Math.max(suspicion.missing, packed.tid)
    return suspicion
  }

  /** @throws {ObjectError} DATABASE_CORRUPT if that is not certainly the object's newest revision */
  check(oid: Oid, record: StoredRecord | undefined): void {
    const serial = this.serials.get(oid)
    if (serial === record?.serial && (serial === undefined || serial >= this.missing)) return
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `the newest revision of object ${oid} cannot be found in ${this.where}, a file of which is damaged; restore the database from a backup`,
    )
  }
}

function readable(key: Buffer, value: Buffer): ReturnType<typeof decodeTransaction> | undefined {
  try {
    return decodeTransaction(key, value)
  } catch {
    return undefined
  }
}
