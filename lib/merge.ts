/**
 * Conflict resolution: an object that two transactions changed is merged if its class knows how (ZODB's `_p_resolveConflict`).
 *
 * The class's prototype has `_p_resolveConflict(old, committed, mine)`: it is given three states, plain records of attributes in which
 * references stand as opaque values (the same reference is the same value in all three), and returns the merged state. If it throws, or
 * returns anything else than a plain object, there is a conflict after all.
 */
import { isDeepStrictEqual } from 'node:util'
import type { Oid } from './ids.ts'
import { asItStands, pickle, Reference, unpickle } from './pickle.ts'
import { isPlain } from './pickle-values.ts'
import { isGone, type RecordBody } from './record.ts'
import { classNamed, type StateRecord } from './registry.ts'
import { asState } from './state.ts'
import type { Change, Merged } from './storage/storage.ts'

/** What a class has that merges what two transactions made of one object, instead of a conflict. */
export interface ConflictResolver {
  _p_resolveConflict(old: StateRecord, committed: StateRecord, mine: StateRecord): StateRecord
}

/** The merged record; undefined if there is no merging these. `old` is what the change was made to. */
export function mergeRecords(change: Change, committed: RecordBody, old: RecordBody | undefined): Merged | undefined {
  const { className, version } = change.record
  const entry = classNamed(className)
  // in an undo, states of another version, which the class does not know
  if (entry?.version !== version || old === undefined) return undefined
  const resolver = entry.ctor.prototype as Partial<ConflictResolver>
  if (resolver._p_resolveConflict === undefined) return undefined
  if ([old, committed].some(each => each.className !== className || each.version !== version)) return undefined
  const references = new Map<number, Reference>()
  const read = (record: RecordBody): StateRecord =>
    unpickle(record.state, reference => {
      const known = references.get(reference.oid)
      if (known === undefined) references.set(reference.oid, reference)
      return known ?? reference
    })
  try {
    const merged: unknown = resolver._p_resolveConflict(read(old), read(committed), read(change.record))
    if (merged instanceof Promise) merged.catch(() => undefined)
    if (!isPlain(merged)) return undefined
    const kept = new Set<Oid>()
    const refer = (object: unknown) => {
      if (!(object instanceof Reference)) throw new Error('a resolver cannot add objects')
      kept.add(object.oid)
      return object
    }
    return { record: { className, version, state: pickle(asState(merged), refer, className) }, references: [...kept] }
  } catch {
    return undefined
  }
}

/** Whether two revisions of an object have the same in these attributes. */
export function sameAttributes(names: readonly string[], old: RecordBody | undefined, committed: RecordBody): boolean {
  if (old === undefined || isGone(committed)) return false
  const read = ({ state }: RecordBody) => unpickle(state, asItStands)
  const [before, after] = [read(old), read(committed)]
  return names.every(name => isDeepStrictEqual(before[name], after[name]))
}
