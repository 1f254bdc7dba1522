/**
 * Whether a transaction can be committed: whether what it read and changed is still as it was, and what it refers to is still there. What
 * another one has changed meanwhile is merged where the class knows how.
 */
import { ObjectError } from '../errors.ts'
import type { OidSet } from '../oid-set.ts'
import type { Oid, Tid } from '../persistent.ts'
import { isGone, type RecordBody, type WholeRecord } from '../record.ts'
import type { Change, Commit } from './storage.ts'

/** What is to be written, change by change. */
export interface Decision {
  readonly bodies: readonly RecordBody[]
  /** The revisions that they follow. */
  readonly befores: readonly (WholeRecord | undefined)[]
  /** The objects that were merged. */
  readonly merged: ReadonlySet<Oid>
}

/**
 * @param latest gives the current revision, durable or accepted
 * @param removed the objects that no transaction may refer to any more
 * @throws {ObjectError} CONFLICT, READ_CONFLICT, DANGLING_REFERENCE; what `merge` throws
 */
export function decide(
  { changes, reads, attributes, unchanged, merge }: Commit,
  latest: (oid: Oid) => WholeRecord | undefined,
  removed: OidSet,
): Decision {
  for (const [oid, serial] of reads) {
    const found = latest(oid)
    if (found?.serial === serial) continue
    const names = attributes?.get(oid)
    if (names !== undefined && found !== undefined && unchanged?.(oid, serial, names, found) === true) continue
    throw readConflict(oid, serial, found)
  }
  const bodies: RecordBody[] = []
  const befores: (WholeRecord | undefined)[] = []
  let merged: Set<Oid> | undefined
  for (const change of changes) {
    const { oid, serial, record, references } = change
    for (const other of references)
      if (removed.has(other) && !changes.some(each => each.oid === other)) throw dangling(change, other)
    const before = serial === 0 ? undefined : latest(oid)
    befores.push(before)
    if (before?.serial === serial || serial === 0) {
      bodies.push(record)
      continue
    }
    if (before === undefined || isGone(before)) throw conflict(change, before)
    const result = merge(change, before)
    if (result === undefined) throw conflict(change, before)
    bodies.push(result)
    merged ??= new Set()
    merged.add(oid)
  }
  return { bodies, befores, merged: merged ?? NONE }
}

const NONE: ReadonlySet<Oid> = new Set()

function conflict({ oid, serial, record }: Change, committed: WholeRecord | undefined): ObjectError {
  const now =
    committed === undefined || isGone(committed) ? 'it has been removed' : `the current one is ${committed.serial}`
  return new ObjectError(
    'CONFLICT',
    `${record.className} (object ${oid}) was changed by another transaction: this one read revision ${serial}, ${now}; run the transaction again`,
  )
}

function readConflict(oid: Oid, serial: Tid, latest: WholeRecord | undefined): ObjectError {
  const now = latest === undefined ? 'it has been removed' : `the current one is ${latest.serial}`
  return new ObjectError(
    'READ_CONFLICT',
    `object ${oid}, which this transaction relied on at revision ${serial}, was changed by another one: ${now}; run the transaction again`,
  )
}

/** Run again, the transaction sees the object no more. */
function dangling({ oid, record }: Change, other: Oid): ObjectError {
  const error = new ObjectError(
    'DANGLING_REFERENCE',
    `${record.className} (object ${oid}) refers to object ${other}, which has been removed from the database meanwhile; get what it should refer to anew`,
  )
  return Object.assign(error, { retryable: true })
}
