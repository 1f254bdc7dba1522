/** What undoing one transaction makes of one object, before anything is merged. */
import { ObjectError } from './errors.ts'
import type { Oid, Tid } from './ids.ts'
import { GONE, type RecordBody, type StoredRecord } from './record.ts'
import { describeRecord } from './record-place.ts'
import type { StorageSnapshot } from './storage/storage.ts'

/** What each object is to become. */
export type Plan = Map<Oid, RecordBody>

export interface Turn {
  /** What the object is, as far as the undo has been planned. */
  readonly now: RecordBody
  /** What the transaction made of it, */
  readonly undone: RecordBody
  /** and what it was before. */
  readonly target: RecordBody
}

/** @throws {ObjectError} UNDO_CONFLICT if that is no longer known */
export function turnOf(snapshot: StorageSnapshot, oid: Oid, tid: Tid, planned: RecordBody | undefined): Turn {
  const revisions = snapshot.revisions(oid)[Symbol.iterator]()
  const first = revisions.next().value as StoredRecord | undefined
  let undone = first
  while (undone !== undefined && undone.serial > tid) undone = revisions.next().value as StoredRecord | undefined
  if (first === undefined || undone?.serial !== tid)
    throw undoConflict(snapshot, oid, tid, 'its history has been packed')
  const earlier = revisions.next().value as StoredRecord | undefined
  if (earlier === undefined && undone.previous !== 0)
    throw undoConflict(snapshot, oid, tid, 'its history has been packed')
  return { now: planned ?? first, undone, target: earlier ?? GONE }
}

export function latest(snapshot: StorageSnapshot, oid: Oid): StoredRecord | undefined {
  const [record] = snapshot.revisions(oid)
  return record
}

export const sameRecord = (a: RecordBody, b: RecordBody): boolean =>
  a.className === b.className && a.version === b.version && Buffer.compare(a.state, b.state) === 0

export function undoConflict(snapshot: StorageSnapshot, oid: Oid, tid: Tid, why: string): ObjectError {
  return new ObjectError(
    'UNDO_CONFLICT',
    `transaction ${tid} cannot be undone: ${describeRecord(oid, at => latest(snapshot, at))}: ${why}; nothing was undone. Undo the later transactions too, or change the object by hand`,
  )
}
