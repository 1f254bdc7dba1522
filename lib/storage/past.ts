/** The database as it was: a snapshot in which every object is the revision of that time. */
import type { Oid, Tid } from '../ids.ts'
import { isGone, type StoredRecord } from '../record.ts'
import type { StorageSnapshot } from './storage.ts'

/** @param at the last transaction to be seen */
export function pastSnapshot(snapshot: StorageSnapshot, at: Tid): StorageSnapshot {
  function* revisions(oid: Oid): Generator<StoredRecord> {
    for (const record of snapshot.revisions(oid)) if (record.serial <= at) yield record
  }
  return {
    tid: at,
    revisions,
    load(oid) {
      const [record] = revisions(oid)
      return record === undefined || isGone(record) ? undefined : record
    },
    release: () => snapshot.release(),
  }
}
