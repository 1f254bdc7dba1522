/**
 * Whether a transaction can be committed: whether what it read and changed is still as it was, and what it refers to is still there. What
 * another one has changed meanwhile is merged where the class knows how.
 */
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import type { OidSet } from '../oid-set.ts'
import { isGone, type RecordBody, type WholeRecord } from '../record.ts'
import type { Change, Commit } from './storage.ts'

/** What is to be written, change by change. */
export interface Decision {
  readonly changes: readonly Change[]
  readonly bodies: readonly RecordBody[]
  /** The revisions that they follow. */
  readonly befores: readonly (WholeRecord | undefined)[]
  /** The objects that were merged. */
  readonly merged: ReadonlySet<Oid>
}

/** What there is. */
export interface Present {
  /** The current revision, durable or accepted. */
  latest(oid: Oid): WholeRecord | undefined
  newOid(): Oid
}

/**
 * @param removed the objects that no transaction may refer to any more
 * @throws {ObjectError} CONFLICT, READ_CONFLICT, DANGLING_REFERENCE; what `merge` throws
 */
export function decide(commit: Commit, present: Present, removed: OidSet): Decision {
  const { changes, reads, attributes, unchanged, merge } = commit
  for (const [oid, serial] of reads) {
    const found = present.latest(oid)
    if (found?.serial === serial) continue
    const names = attributes?.get(oid)
    if (names !== undefined && found !== undefined && unchanged?.(oid, serial, names, found) === true) continue
    throw readConflict(oid, serial, found)
  }
  const there: There = { commit, removed, own: undefined }
  const bodies = changes.map(({ record }) => record)
  const befores: (WholeRecord | undefined)[] = new Array(changes.length)
  let merged: Set<Oid> | undefined
  let whole: Change[] | undefined
  for (let i = 0; i < changes.length; i++) {
    const change = changes[i]!
    const { oid, serial } = change
    assertThere(change, there)
    const before = serial === 0 ? undefined : present.latest(oid)
    befores[i] = before
    if (before?.serial === serial || serial === 0) continue
    const found = before === undefined || isGone(before) ? undefined : merge(change, before)
    if (found === undefined) return redone(change, commit, present, removed) ?? refuse(change, before)
    // it may refer to what neither side does, but the state that both began with
    const result = { ...change, ...found }
    assertThere(result, there)
    bodies[i] = result.record
    whole ??= [...changes]
    whole[i] = result
    merged ??= new Set()
    merged.add(oid)
  }
  return { changes: whole ?? changes, bodies, befores, merged: merged ?? NONE }
}

interface There {
  readonly commit: Commit
  readonly removed: OidSet
  /** What the transaction itself writes; worked out when it is needed. */
  own: ReadonlySet<Oid> | undefined
}

function assertThere(change: Change, there: There): void {
  const { commit, removed } = there
  for (const other of change.references) {
    if (!removed.has(other)) continue
    there.own ??= new Set(commit.changes.map(oidOf))
    if (!there.own.has(other)) throw dangling(change, other, commit.place)
  }
}

/** Has all changes done again that belong together with one that conflicts. @returns undefined if that cannot be */
function redone({ within }: Change, commit: Commit, present: Present, removed: OidSet): Decision | undefined {
  if (within === undefined) return undefined
  const own = commit.changes.filter(each => each.within === within)
  const others = commit.changes.filter(each => each.within !== within)
  const again = commit.redo?.(within, own, present)
  if (again === undefined || again.some(({ oid }) => others.some(each => each.oid === oid))) return undefined
  const decision = decide({ ...commit, changes: [...others, ...again] }, present, removed)
  return { ...decision, merged: new Set([...decision.merged, ...own.map(oidOf), ...again.map(oidOf)]) }
}

const oidOf = ({ oid }: Change): Oid => oid

const NONE: ReadonlySet<Oid> = new Set()

function refuse({ oid, serial, record }: Change, committed: WholeRecord | undefined): never {
  const now =
    committed === undefined || isGone(committed) ? 'it has been removed' : `the current one is ${committed.serial}`
  throw new ObjectError(
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
function dangling({ oid, record }: Change, other: Oid, place: Commit['place']): ObjectError {
  const from = place?.(oid) ?? `${record.className} (object ${oid})`
  const error = new ObjectError(
    'DANGLING_REFERENCE',
    `${from} refers to ${place?.(other) ?? `object ${other}`}, which has been removed from the database meanwhile; get what it should refer to anew`,
  )
  return Object.assign(error, { retryable: true })
}
