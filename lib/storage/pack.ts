/**
 * Pack: forgets what was before a moment, and (gc) the objects that nothing reached then or has referred to since (ZODB's pack).
 *
 * For a pack at tid P, of each object its newest revision up to P and all later ones stay. With gc an object stays if it can be reached
 * from the root as of P, or was written since, or is referred to by anything written since; and whatever such an object reaches as of P.
 *
 *     m packed = P, synced      views of a time before P are refused from here on
 *     mark                      a bit per oid; nothing is changed
 *     condemn                   those without a mark: no transaction may refer to them any more
 *     sweep objects             they go, some hundred at a time, each batch decided with the database at rest
 *     sweep revisions, then transactions of which no revision is left
 *     compact                   LevelDB gives the space back
 *
 * Reads and commits go on all the while. The pack looks at one snapshot; open readers keep theirs. Transactions accepted while it marks
 * tell what they write and refer to, which is marked too; one that comes later and refers to what is condemned is refused (DANGLING_REFERENCE): the
 * object may be there still, but what it refers to may have gone. Each step leaves a consistent database, so after a kill at any point the
 * next pack does the rest.
 */
import { ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import { OidSet } from '../oid-set.ts'
import { pauses } from '../pauses.ts'
import { referencesOf } from '../pickle.ts'
import { isGone, type StoredRecord, serialOf } from '../record.ts'
import { objectKey, oidOf, range, revisionKey, tidOf, transactionKey } from './keys.ts'
import { BINARY, entriesIn, type Level, type Operation } from './level.ts'
import type { SharedSnapshot } from './level-snapshot.ts'
import type { PackOptions, PackResult, TransactionEntry } from './storage.ts'
import { decodeTransaction } from './transaction-record.ts'
import type { Writer } from './writer.ts'

/** An object to be removed, if it is still at that revision. */
export interface Removal {
  readonly oid: Oid
  readonly serial: Tid
  readonly operations: readonly Operation[]
}

/** What a pack needs of the storage. */
export interface PackHost {
  readonly level: Level
  readonly writer: Writer
  readonly location: string
  /** The state that the pack looks at. */
  readonly snapshot: SharedSnapshot
  readonly root: Oid
  /** What transactions accepted since then write and refer to; only grows. */
  readonly referred: ReadonlySet<Oid>
  transactions(after: Tid): AsyncIterable<TransactionEntry>
  /** From now on no transaction may refer to what is not among these, but what is written again or new. */
  condemn(marked: OidSet): void
  /** Decides synchronously which are removed. @returns how many, once they are */
  remove(removals: readonly Removal[]): Promise<number>
}

const BATCH = 200

/** @param at the last transaction whose history is forgotten; recorded already */
export async function pack(
  host: PackHost,
  at: Tid,
  { gc = true, progress }: PackOptions,
): Promise<PackResult & { left: number }> {
  const marked = gc ? await mark(host, at, progress) : undefined
  let done = 0
  const looked = () => progress?.({ phase: 'sweep', done: ++done })
  const objects = marked === undefined ? 0 : await sweepObjects(host, at, marked, looked)
  const { revisions, taken } = await sweepRevisions(host, at, marked, looked)
  const { removed: transactions, left } = await sweepTransactions(host, at, progress)
  return { packed: at, objects: objects + taken, revisions, transactions, left }
}

const KINDS = ['o', 'r', 't', 'x']

/** Gives the disk space of what was removed back. */
export async function compact(level: Level, progress: PackOptions['progress']): Promise<void> {
  if (!('compactRange' in level)) return
  const compactor = level as unknown as { compactRange(start: Buffer, end: Buffer, options: object): Promise<void> }
  for (const [done, kind] of KINDS.entries()) {
    progress?.({ phase: 'compact', done })
    const { gte, lt } = range(Buffer.from(kind))
    await compactor.compactRange(gte, lt, BINARY)
  }
}

class Marker {
  readonly marked = new OidSet()
  private readonly host: PackHost
  private readonly at: Tid
  private readonly stack: Oid[] = []
  private seen = 0

  constructor(host: PackHost, at: Tid) {
    this.host = host
    this.at = at
  }

  reach(oid: Oid): void {
    if (this.marked.add(oid)) this.stack.push(oid)
  }

  /** Marks what those transactions have referred to that came since the last call. @returns whether there was any */
  reachReferred(): boolean {
    if (this.seen === this.host.referred.size) return false
    let number = 0
    for (const oid of this.host.referred) if (number++ >= this.seen) this.reach(oid)
    this.seen = this.host.referred.size
    return this.stack.length > 0
  }

  /** Marks all that can be reached as of the pack's time from what has been. */
  async drain(progress: PackOptions['progress']): Promise<void> {
    const pause = pauses()
    for (let oid = this.stack.pop(); oid !== undefined; oid = this.stack.pop()) {
      for (const other of this.referencesThen(oid)) this.reach(other)
      await pause()
      progress?.({ phase: 'mark', done: this.marked.size })
    }
  }

  private referencesThen(oid: Oid): Oid[] {
    let known = false
    for (const record of this.host.snapshot.revisions(oid)) {
      known = true
      if (record.serial <= this.at) return isGone(record) ? [] : referencesOf(record.state)
    }
    // an object of a transaction that was accepted after the snapshot is not in it
    if (known || this.host.referred.has(oid)) return []
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `object ${oid} is missing in ${this.host.location}, though something refers to it; restore the database from a backup`,
    )
  }
}

async function mark(host: PackHost, at: Tid, progress: PackOptions['progress']): Promise<OidSet> {
  const marker = new Marker(host, at)
  marker.reach(host.root)
  const written = new OidSet()
  const pause = pauses()
  for await (const { oids } of host.transactions(at)) {
    host.writer.assertSound()
    for (const oid of oids) {
      if (!written.add(oid)) continue
      marker.reach(oid)
      for (const record of host.snapshot.revisions(oid)) {
        if (record.serial <= at) break
        if (!isGone(record)) for (const other of referencesOf(record.state)) marker.reach(other)
      }
      await pause()
    }
  }
  await marker.drain(progress)
  // no waiting between the last look at what was referred to and the decision
  while (marker.reachReferred()) await marker.drain(progress)
  host.condemn(marker.marked)
  return marker.marked
}

async function sweepObjects(host: PackHost, at: Tid, marked: OidSet, looked: () => void): Promise<number> {
  let removed = 0
  let batch: Removal[] = []
  const removeBatch = async () => {
    const removals = batch
    batch = []
    removed += await host.remove(removals)
  }
  const { snapshot } = host
  const pause = pauses()
  for await (const key of host.level.keys({ ...snapshot.reading, ...range(Buffer.from('o')) })) {
    looked()
    await pause()
    const oid = oidOf(key)
    if (marked.has(oid)) continue
    const record = snapshot.latest(oid)
    if (record === undefined || record.serial > at) continue
    batch.push({ oid, serial: record.serial, operations: allOf(snapshot, oid) })
    if (batch.length >= BATCH) await removeBatch()
  }
  if (batch.length > 0) await removeBatch()
  return removed
}

/** Deletes an object with all its revisions. */
function allOf(snapshot: SharedSnapshot, oid: Oid): Operation[] {
  const [, ...older] = snapshot.revisions(oid)
  return [[objectKey(oid), undefined], ...older.map(({ serial }): Operation => [revisionKey(oid, serial), undefined])]
}

/** Removes the revisions that no view from the pack's time on shows, and the objects that were taken back before. */
async function sweepRevisions(
  host: PackHost,
  at: Tid,
  marked: OidSet | undefined,
  looked: () => void,
): Promise<{ revisions: number; taken: number }> {
  const { level, writer, snapshot } = host
  let revisions = 0
  let taken = 0
  let operations: Operation[] = []
  let held: { oid: Oid; key: Buffer; latest: StoredRecord | undefined } | undefined
  const flush = async (least: number) => {
    if (operations.length < least) return
    revisions += operations.length
    await writer.writeAll(operations, { sync: false })
    operations = []
  }
  /** Decides on the revision in hand, knowing the one that follows it. */
  const decide = async (following: Tid | undefined) => {
    if (held === undefined) return
    const { oid, key, latest } = held
    const next = following ?? latest?.serial ?? 0
    if (next > at) return
    operations.push([key, undefined])
    if (following === undefined && latest !== undefined && isGone(latest)) {
      taken += await host.remove([{ oid, serial: latest.serial, operations: [[objectKey(oid), undefined]] }])
    }
  }
  const pause = pauses()
  for await (const key of level.keys({ ...snapshot.reading, ...range(Buffer.from('r')) })) {
    looked()
    await pause()
    const oid = oidOf(key)
    await decide(held?.oid === oid ? tidOf(key) : undefined)
    const garbage = marked !== undefined && !marked.has(oid)
    held = garbage ? undefined : { oid, key, latest: held?.oid === oid ? held.latest : snapshot.latest(oid) }
    await flush(BATCH)
  }
  await decide(undefined)
  await flush(1)
  return { revisions, taken }
}

/** Removes the transactions up to the pack's time of which no revision is left. The last one always stays: it has the counters. */
async function sweepTransactions(
  host: PackHost,
  at: Tid,
  progress: PackOptions['progress'],
): Promise<{ removed: number; left: number }> {
  const { level, writer, snapshot } = host
  const pause = pauses()
  let removed = 0
  let left = at === snapshot.tid && at > 0 ? 1 : 0
  let operations: Operation[] = []
  const flush = async (least: number) => {
    if (operations.length < least) return
    removed += operations.length
    await writer.writeAll(operations, { sync: false })
    operations = []
  }
  const bounds = { gte: transactionKey(0), lte: transactionKey(Math.min(at, snapshot.tid - 1)) }
  let done = 0
  for await (const [key, value] of entriesIn(level, { ...BINARY, ...bounds })) {
    progress?.({ phase: 'forget', done: ++done })
    const { tid, oids } = decodeTransaction(key, value)
    let stays = false
    for (const oid of oids) {
      stays = stands(level, oid, tid)
      if (stays) break
      await pause()
    }
    if (stays) left += 1
    else operations.push([key, undefined])
    await flush(BATCH)
    await pause()
  }
  await flush(1)
  return { removed, left }
}

/** Whether that revision of the object is still there. */
function stands(level: Level, oid: Oid, tid: Tid): boolean {
  if (level.getSync(revisionKey(oid, tid), BINARY) !== undefined) return true
  const latest = level.getSync(objectKey(oid), BINARY)
  return latest !== undefined && serialOf(latest) === tid
}
