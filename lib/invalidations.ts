/**
 * What others committed since a connection's snapshot was taken. Most connections end before they have to know, so it is not worked out as it
 * comes.
 */
import type { Oid, Tid } from './ids.ts'
import type { TransactionEntry } from './storage/storage.ts'

/** Transactions that are remembered as they came. */
const MOST_UNSEEN = 1000

export class Invalidations {
  private unseen: TransactionEntry[] = []
  private outdated: Map<Oid, Tid> | undefined

  note(entry: TransactionEntry): void {
    if (this.unseen.push(entry) > MOST_UNSEEN) this.sortOut()
  }

  /**
   * Tells of each object that was written, once, with the newest transaction that wrote it; and forgets them.
   * @param own a transaction of which nothing has to be told
   */
  take(own: Tid | undefined, tell: (oid: Oid, tid: Tid) => void): void {
    this.sortOut(own)
    if (this.outdated === undefined) return
    for (const [oid, tid] of this.outdated) tell(oid, tid)
    this.outdated = undefined
  }

  private sortOut(own?: Tid): void {
    for (const { tid, oids } of this.unseen) {
      if (tid === own) continue
      this.outdated ??= new Map()
      for (const oid of oids) this.outdated.set(oid, tid)
    }
    this.unseen = []
  }
}
