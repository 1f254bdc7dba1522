/**
 * What others committed since a connection's snapshot was taken. Most connections end before they have to know, so it is not worked out as it
 * comes.
 */
import type { Oid, Tid } from './persistent.ts'
import type { TransactionEntry } from './storage/storage.ts'

/** Transactions that are remembered as they came. */
const MOST_UNSEEN = 1000

export class Invalidations {
  private readonly unseen: TransactionEntry[] = []
  private readonly outdated = new Map<Oid, Tid>()

  note(entry: TransactionEntry): void {
    if (this.unseen.push(entry) > MOST_UNSEEN) this.sortOut()
  }

  /** Tells of each object that was written, once, with the newest transaction that wrote it; and forgets them. */
  take(tell: (oid: Oid, tid: Tid) => void): void {
    this.sortOut()
    for (const [oid, tid] of this.outdated) tell(oid, tid)
    this.outdated.clear()
  }

  private sortOut(): void {
    for (const { tid, oids } of this.unseen) for (const oid of oids) this.outdated.set(oid, tid)
    this.unseen.length = 0
  }
}
