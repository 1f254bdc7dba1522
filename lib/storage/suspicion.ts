/**
 * Reading a database of which a table file is damaged. A damaged table may hide the newest revision of an object, and an older one would
 * be read in its place; so what every object must be at is worked out from the transactions, and what is not there is an error.
 */
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import type { StoredRecord } from '../record.ts'
import { range } from './keys.ts'
import { BINARY, entriesIn, type Level } from './level.ts'
import type { Packed } from './meta.ts'
import { decodeTransaction } from './transaction-record.ts'

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
    let left = 0
    let last: Tid | undefined
    const known = await readable(level, false, entry => {
      for (const oid of entry.oids) suspicion.serials.set(oid, entry.tid)
      if (entry.tid <= packed.tid) left += 1
      else if (entry.previous > packed.tid && entry.previous !== last) suspicion.missing = entry.previous
      last = entry.tid
    })
    if (!known) await suspicion.fromTheEnd(level)
    else if (packed.left !== undefined && packed.left !== left)
      suspicion.missing = Math.max(suspicion.missing, packed.tid)
    return suspicion
  }

  /** Where the transactions cannot be read through, those after the damage can. */
  private async fromTheEnd(level: Level): Promise<void> {
    this.serials.clear()
    this.missing = Number.POSITIVE_INFINITY
    let next: Tid | undefined
    await readable(level, true, ({ tid, oids, previous }) => {
      if (next !== undefined && next !== tid) return
      for (const oid of oids) if (!this.serials.has(oid)) this.serials.set(oid, tid)
      this.missing = previous
      next = previous
    })
  }

  /** @throws {ObjectError} DATABASE_CORRUPT if that is not certainly the object's newest revision */
  check(oid: Oid, record: StoredRecord | undefined): void {
    const serial = this.serials.get(oid)
    if (serial !== undefined && serial === record?.serial && serial > this.missing) return
    if (serial === undefined && record === undefined && this.missing === 0) return
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `the newest revision of object ${oid} cannot be found in ${this.where}, a file of which is damaged; restore the database from a backup`,
    )
  }
}

/** Reads the transactions as far as they can be. @returns whether that is all of them */
async function readable(
  level: Level,
  reverse: boolean,
  take: (entry: ReturnType<typeof decodeTransaction>) => void,
): Promise<boolean> {
  try {
    for await (const [key, value] of entriesIn(level, { ...BINARY, ...range(Buffer.from('t')), reverse }))
      take(decodeTransaction(key, value))
    return true
  } catch {
    return false
  }
}
