/**
 * Undo: a new transaction that puts the objects of earlier ones back to what they were before (ZODB: undo, undoMultiple).
 *
 * Several are undone newest first, as one. An object that was changed since is merged if its class knows how, as in a conflict; otherwise
 * nothing is undone (UNDO_CONFLICT). A BTree is undone entry by entry (lib/undo-trees.ts). Undoing the creation of an object takes it back; that is refused while something
 * refers to it (DANGLING_REFERENCE), and so is bringing back an object that refers to one that is no longer there. Nothing is put back into a
 * container that has been taken out of the tree since. An undo can be undone.
 */
import { ObjectError } from './errors.ts'
import { type Oid, ROOT_OID, type Tid } from './ids.ts'
import { mergeRecords } from './merge.ts'
import { referencesOf } from './pickle.ts'
import { isGone, type RecordBody } from './record.ts'
import { containerOf, describeRecord } from './record-place.ts'
import type { Change, Commit, Storage, StorageSnapshot, TransactionEntry } from './storage/storage.ts'
import { TreeUndo } from './undo-trees.ts'
import { latest, type Plan, sameRecord, turnOf, undoConflict } from './undo-turn.ts'

interface Undoing extends Pick<Commit, 'user' | 'note'> {
  /** Who wants no more; looked at last before the decision. */
  readonly signal?: AbortSignal | undefined
}

/**
 * @returns the new transaction
 * @throws {ObjectError} NOT_FOUND for a transaction that is not there, HISTORY_PACKED, UNDO_CONFLICT, DANGLING_REFERENCE
 */
export async function undo(storage: Storage, tids: readonly Tid[], { signal, ...options }: Undoing): Promise<Tid> {
  const { changes, readOn } = await planning(storage, tids)
  const { tid } = await storage.commitAtRest(async () => {
    await readOn()
    signal?.throwIfAborted()
    return {
      ...options,
      changes: changes(),
      extension: {},
      reads: new Map(),
      outbox: new Map(),
      merge: () => undefined,
    }
  })
  return tid
}

/** Throws what `undo` would throw now, and changes nothing. */
export async function assertUndoable(storage: Storage, tids: readonly Tid[]): Promise<void> {
  const { changes } = await planning(storage, tids)
  changes()
}

/** What is to be read for an undo: most of it now, before others are held back, and with `readOn` what has come since. */
async function planning(
  storage: Storage,
  tids: readonly Tid[],
): Promise<{ changes: () => Change[]; readOn: () => Promise<void> }> {
  const entries = await Promise.all([...new Set(tids)].sort((a, b) => b - a).map(tid => entryOf(storage, tid)))
  if (entries.length === 0) throw new ObjectError('INVALID_ARGUMENT', 'undo: no transaction was named')
  const since: TransactionEntry[] = []
  const readOn = async () => {
    const after = since.at(-1)?.tid ?? entries.at(-1)!.tid
    for await (const entry of storage.transactions({ after })) since.push(entry)
  }
  await readOn()
  return { changes: () => planned(storage, entries, since), readOn }
}

/** What the undo changes, with the database at rest: nothing can happen between this and the commit. */
function planned(storage: Storage, entries: TransactionEntry[], since: TransactionEntry[]): Change[] {
  const snapshot = storage.snapshot()
  try {
    const plan: Plan = new Map()
    const trees = new TreeUndo(snapshot, plan, since, () => storage.newOid())
    for (const entry of entries) {
      const done = trees.undo(entry)
      for (const oid of entry.oids) if (!done.has(oid)) plan.set(oid, before(snapshot, oid, entry.tid, plan.get(oid)))
    }
    const root = plan.get(ROOT_OID)
    if (root !== undefined && isGone(root))
      throw undoConflict(snapshot, ROOT_OID, entries.at(-1)!.tid, 'it is the root, without which there is no database')
    assertWhole(snapshot, plan, since)
    assertPlaced(snapshot, plan, entries.at(-1)!.tid)
    return Array.from(plan, ([oid, record]) => ({
      oid,
      serial: latest(snapshot, oid)?.serial ?? 0,
      record,
      references: isGone(record) ? [] : referencesOf(record.state),
      within: trees.within.get(oid),
    }))
  } finally {
    snapshot.release()
  }
}

/** What `oid` was before `tid`, merged with what it has become since. */
function before(snapshot: StorageSnapshot, oid: Oid, tid: Tid, planned: RecordBody | undefined): RecordBody {
  const { now, undone, target } = turnOf(snapshot, oid, tid, planned)
  if (sameRecord(now, undone)) return target
  const change: Change = { oid, serial: tid, record: target, references: [] }
  const merged = isGone(now) || isGone(target) ? undefined : mergeRecords(change, now, undone)
  if (merged === undefined) throw undoConflict(snapshot, oid, tid, 'it was changed since')
  return merged.record
}

/** Makes sure that nothing will refer to an object that is not there. */
function assertWhole(snapshot: StorageSnapshot, plan: Plan, since: TransactionEntry[]): void {
  const taken = new Set([...plan].flatMap(([oid, record]) => (isGone(record) ? [oid] : [])))
  const planned = (oid: Oid) => plan.get(oid) ?? latest(snapshot, oid)
  const problems: { from: Oid; to: Oid }[] = []
  // what was written before an object was made cannot refer to it
  const others = taken.size === 0 ? [] : since.flatMap(({ oids }) => oids)
  for (const oid of new Set([...plan.keys(), ...others])) {
    const record = planned(oid)
    if (record === undefined || isGone(record)) continue
    for (const other of referencesOf(record.state)) {
      const there = plan.has(other) ? !taken.has(other) : snapshot.load(other) !== undefined
      if (!there) problems.push({ from: oid, to: other })
    }
  }
  if (problems.length === 0) return
  const named = problems
    .slice(0, 5)
    .map(
      ({ from, to }) => `${describeRecord(from, planned)} refers to ${describeRecord(to, at => latest(snapshot, at))}`,
    )
  throw new ObjectError(
    'DANGLING_REFERENCE',
    `undo: an object would be missing that others refer to: ${named.join('; ')}${problems.length > 5 ? `; and ${problems.length - 5} more` : ''}. Undo the later transactions too, or remove the references first`,
  )
}

/**
 * Makes sure that nothing is put back into a container that has been taken out of the tree since.
 * @param first the earliest transaction that is undone
 */
function assertPlaced(snapshot: StorageSnapshot, plan: Plan, first: Tid): void {
  const earlier = (oid: Oid): RecordBody | undefined => {
    for (const record of snapshot.revisions(oid)) if (record.serial < first) return record
    return undefined
  }
  const wasInTree = climber(earlier)
  const isInTree = climber(oid => plan.get(oid) ?? latest(snapshot, oid))
  for (const [oid, record] of plan) {
    const container = containerOf(record)
    if (container === undefined || container === containerOf(latest(snapshot, oid))) continue
    if (wasInTree(container) && !isInTree(container))
      throw undoConflict(
        snapshot,
        oid,
        first,
        `what it was in (${describeRecord(container, earlier)}) has been taken out of the tree since`,
      )
  }
}

/** Tells whether an object is the root, or in the tree, by what `load` gives of it and of what it is in. */
function climber(load: (oid: Oid) => RecordBody | undefined): (oid: Oid) => boolean {
  const known = new Map([[ROOT_OID, true]])
  return start => {
    const way = new Set<Oid>()
    let at: Oid | undefined = start
    while (at !== undefined && !known.has(at) && !way.has(at)) {
      way.add(at)
      at = containerOf(load(at))
    }
    const reached = at !== undefined && known.get(at) === true
    for (const oid of way) known.set(oid, reached)
    return reached
  }
}

async function entryOf(storage: Storage, tid: Tid): Promise<TransactionEntry> {
  if (tid > 0 && tid <= storage.packed)
    throw new ObjectError('HISTORY_PACKED', `transaction ${tid} cannot be undone: the database has been packed since`)
  const entry = Number.isSafeInteger(tid) && tid > 0 ? await storage.transaction(tid) : undefined
  if (entry !== undefined) return entry
  throw new ObjectError('NOT_FOUND', `there is no transaction ${tid} in ${storage.location}; undoLog lists them`)
}
