/**
 * The newest durable revisions of the objects that were written or read last, kept at hand: most transactions change what was in use a moment ago, so
 * neither it nor the revision that a change follows has to be read back. A small table: an object takes the place of another.
 */
import type { Oid, Tid } from '../ids.ts'
import type { WholeRecord } from '../record.ts'

/** How many. */
export const PLACES = 512
/** Bytes of the largest record that is kept. */
const LARGEST = 4096

export class RecentRecords {
  private readonly records: (WholeRecord | undefined)[] = new Array(PLACES).fill(undefined)

  /** The newest durable revision; undefined if it is not at hand. */
  newest(oid: Oid): WholeRecord | undefined {
    const record = this.records[oid % PLACES]
    return record?.oid === oid ? record : undefined
  }

  /** The revision that the state of `tid` shows; undefined if it is not at hand. */
  asOf(oid: Oid, tid: Tid): WholeRecord | undefined {
    const record = this.newest(oid)
    return record !== undefined && record.serial <= tid ? record : undefined
  }

  /** Takes the newest durable revision of an object. */
  keep(record: WholeRecord): void {
    if (record.bytes.length <= LARGEST) this.records[record.oid % PLACES] = record
    else this.forget(record.oid)
  }

  clear(): void {
    this.records.fill(undefined)
  }

  /** The object is no longer there. */
  forget(oid: Oid): void {
    const place = oid % PLACES
    if (this.records[place]?.oid === oid) this.records[place] = undefined
  }
}
