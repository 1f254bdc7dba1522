/**
 * Undoing what a transaction did to BTrees.
 *
 * A tree that no later transaction has changed gets its nodes back as they were. Otherwise that might lose entries: where a leaf was taken out of
 * the tree, later ones of its range have come into the leaf beside it. So what the transaction did to the entries is taken back on the tree as
 * it is now (lib/btree-redo.ts); nodes that it made stay. That fails where one of these entries has been changed since.
 */
import { shown } from './arguments.ts'
import { redone } from './btree-redo.ts'
import type { Oid } from './ids.ts'
import type { StoredRecord } from './record.ts'
import type { StorageSnapshot, TransactionEntry } from './storage/storage.ts'
import { latest, type Plan, sameRecord, turnOf, undoConflict } from './undo-turn.ts'

export class TreeUndo {
  /** The trees of the nodes that are to be changed. */
  readonly within = new Map<Oid, Oid>()
  private readonly snapshot: StorageSnapshot
  private readonly plan: Plan
  private readonly since: readonly TransactionEntry[]
  private readonly newOid: () => Oid

  /**
   * @param plan where what nodes are to become is entered
   * @param since the transactions after the earliest that is undone
   */
  constructor(snapshot: StorageSnapshot, plan: Plan, since: readonly TransactionEntry[], newOid: () => Oid) {
    this.snapshot = snapshot
    this.plan = plan
    this.since = since
    this.newOid = newOid
  }

  /**
   * Plans what is to be done entry by entry; transactions come newest first.
   * @returns the objects of the transaction that need nothing further
   * @throws {ObjectError} UNDO_CONFLICT
   */
  undo({ tid, within = NONE }: TransactionEntry): ReadonlySet<Oid> {
    const done = new Set<Oid>()
    for (const [tree, oids] of within) {
      for (const oid of oids) this.within.set(oid, tree)
      const turns = oids.map(oid => ({ oid, ...turnOf(this.snapshot, oid, tid, this.plan.get(oid)) }))
      const isLeft = !this.since.some(each => each.tid > tid && each.within?.has(tree))
      if (isLeft && turns.every(({ now, undone }) => sameRecord(now, undone))) continue
      let why = 'it was changed since'
      const undone = new Map(turns.map(turn => [turn.oid, turn.undone]))
      const changes = redone(
        tree,
        turns.map(({ oid, target }) => ({ oid, serial: tid, record: target, references: [] })),
        {
          seen: oid => undone.get(oid),
          latest: oid => this.latest(oid),
          newOid: this.newOid,
          conflict: key => {
            why = `its entry ${shown(key)} was changed since`
          },
        },
      )
      if (changes === undefined) throw undoConflict(this.snapshot, tree, tid, why)
      for (const { oid, record } of changes) {
        this.plan.set(oid, record)
        this.within.set(oid, tree)
      }
      for (const oid of oids) done.add(oid)
    }
    return done
  }

  /** An object as far as the undo has been planned. */
  private latest(oid: Oid): StoredRecord | undefined {
    const stored = latest(this.snapshot, oid)
    const planned = this.plan.get(oid)
    if (planned === undefined) return stored
    const { className, version, state } = planned
    return { className, version, state, serial: stored?.serial ?? UNSTORED, previous: 0 }
  }
}

const NONE: ReadonlyMap<Oid, readonly Oid[]> = new Map()
/** The serial of what is planned to be made; any but that of a new object. */
const UNSTORED = 1
