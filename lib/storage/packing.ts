/**
 * The storage's part in packs: how far the database was packed, what was removed from it since it was opened, and what transactions refer to
 * while a pack is under way (pack.ts).
 */
import { ObjectError } from '../errors.ts'
import { type Oid, ROOT_OID, type Tid } from '../ids.ts'
import { OidSet } from '../oid-set.ts'
import { isGone, type RecordBody, type WholeRecord } from '../record.ts'
import { failedWrite } from './damage.ts'
import type { GroupCommit } from './group-commit.ts'
import { failedRead, isClosed, type Level } from './level.ts'
import type { CurrentState } from './level-snapshot.ts'
import { type Packed, packedOperation } from './meta.ts'
import { compact, type PackHost, pack, type Removal } from './pack.ts'
import type { Change, PackOptions, PackProgress, PackResult, TransactionEntry } from './storage.ts'
import type { Writer } from './writer.ts'

/** What a pack needs of the storage. */
export interface PackingOwner {
  readonly level: Level
  readonly location: string
  readonly state: CurrentState
  readonly writer: Writer
  readonly group: GroupCommit
  /** The current revision, durable or accepted. */
  latest(oid: Oid): WholeRecord | undefined
  /** The oid that no object has had yet. */
  nextOid(): Oid
  /** The transactions of one state: with `after < tid <= upTo`. */
  transactions(after: Tid, upTo: Tid): AsyncIterable<TransactionEntry>
}

export class Packing {
  /** Objects that were condemned, removed or taken back since the database was opened: no transaction may refer to them. */
  readonly removed = new OidSet()
  /** The time of the last pack; 0 if there was none. */
  packedTo: Tid
  private readonly owner: PackingOwner
  private isPacking = false
  /** While a pack marks: the objects that transactions accepted meanwhile write and refer to. */
  private referred: Set<Oid> | undefined
  private running: Promise<unknown> | undefined

  constructor(owner: PackingOwner, packed: Packed) {
    this.owner = owner
    this.packedTo = packed.tid
  }

  /** A transaction with these changes has been accepted. */
  accepted(changes: readonly Change[]): void {
    if (this.referred === undefined) return
    for (const { oid, references } of changes) {
      this.referred.add(oid)
      for (const other of references) this.referred.add(other)
    }
  }

  /** An object is about to be written. */
  written(oid: Oid, record: RecordBody): void {
    if (isGone(record)) this.removed.add(oid)
    else this.removed.delete(oid)
  }

  /**
   * @param before the last transaction whose history goes
   * @throws {ObjectError} PACK_RUNNING, DATABASE_CORRUPT, DATABASE_FAILED
   */
  async pack(before: Tid, options: PackOptions): Promise<PackResult> {
    const { location } = this.owner
    if (this.isPacking)
      throw new ObjectError('PACK_RUNNING', `${location} is being packed already; wait until that has ended`)
    this.isPacking = true
    const work = this.run(before, options)
    this.running = Promise.allSettled([this.running, work]).then(() => undefined)
    try {
      return await work
    } finally {
      this.isPacking = false
    }
  }

  /** Waits until no pack is under way; one ends soon after a write has failed. */
  async ended(): Promise<void> {
    await this.running
  }

  /** LevelDB was opened again, after commits that wrote these objects failed. @param packed how far it was packed */
  reopened(packed: Packed, oids: Iterable<Oid>): void {
    this.packedTo = packed.tid
    for (const oid of oids) {
      const record = this.owner.latest(oid)
      if (record === undefined || isGone(record)) this.removed.add(oid)
      else this.removed.delete(oid)
    }
  }

  private async run(before: Tid, options: PackOptions): Promise<PackResult> {
    const { level, location, state, writer, group } = this.owner
    const { progress, stopped } = stoppable(state => {
      writer.assertSound()
      options.progress?.(state)
    })
    const referred = new Set<Oid>()
    this.referred = referred
    // what was accepted before is in the snapshot; what comes from now on tells what it refers to
    await group.settled()
    const snapshot = await state.fix(() => group.settled())
    const nextOid = this.owner.nextOid()
    try {
      this.packedTo = Math.max(this.packedTo, Math.min(before, snapshot.tid))
      await this.record(undefined)
      const host: PackHost = {
        level,
        writer,
        location,
        snapshot,
        root: ROOT_OID,
        referred,
        transactions: after => this.owner.transactions(after, snapshot.tid),
        condemn: marked => {
          this.referred = undefined
          this.removed.addAbsent(marked, nextOid)
        },
        remove: removals => this.remove(removals),
      }
      const { left, ...result } = await pack(host, this.packedTo, { ...options, progress })
      await this.record(left)
      return result
    } catch (error) {
      throw error instanceof ObjectError || stopped() ? error : failedWrite(location, error)
    } finally {
      this.referred = undefined
      state.unfix(snapshot)
      if (level.status === 'open' && writer.isSound) {
        // a new state, in which what was swept no longer is
        await group.accept({}, undefined)
        if (!stopped())
          await compact(level, progress).catch(error => {
            if (stopped()) throw error
            throw isClosed(error) ? failedRead(error) : failedWrite(location, error)
          })
      }
    }
  }

  private record(left: number | undefined): Promise<void> {
    return this.owner.writer.writeAll([packedOperation({ tid: this.packedTo, left })], { sync: true })
  }

  private async remove(removals: readonly Removal[]): Promise<number> {
    const certain = removals.filter(({ oid, serial }) => this.owner.latest(oid)?.serial === serial)
    if (certain.length === 0) return 0
    const { group } = this.owner
    for (const { oid, operations } of certain) {
      this.removed.add(oid)
      for (const operation of operations) group.batch.add(operation)
    }
    await group.accept({ removed: certain.map(({ oid }) => oid) }, undefined)
    return certain.length
  }
}

/** A progress that remembers whether it threw, which is no failure of the database. */
function stoppable(progress: PackOptions['progress']) {
  let stopped = false
  return {
    progress: (state: PackProgress): void => {
      try {
        progress?.(state)
      } catch (error) {
        stopped = true
        throw error
      }
    },
    stopped: () => stopped,
  }
}
