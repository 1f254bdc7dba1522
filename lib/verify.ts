/**
 * Verify: reads all records and tells what is wrong. Changes nothing.
 *
 * - no file was found damaged when the database was opened, or in the background since;
 * - every record, current or earlier, agrees with its checksum, and its state can be decoded;
 * - the transactions form a chain; each one that was not packed has left what it says it wrote, and every revision belongs to one;
 * - every BTree has its keys where they are looked for, and counts them;
 * - every reference leads to an object; every one that is in use and has a `__parent__` is found there under its name;
 * - every content of a blob is there and agrees with its checksum, and is known to belong to it;
 * - every outbox row agrees with its checksum.
 *
 * Memory: some bytes per object (which are there, which are referred to); records and contents pass through in pieces.
 */
import { BLOB_ROWS } from './blob.ts'
import { contentOfRow } from './blob-care.ts'
import { Broken } from './broken.ts'
import { BTree } from './btree.ts'
import { problemInTree } from './btree-check.ts'
import type { Connection } from './connection.ts'
import { messageOf, ObjectError } from './errors.ts'
import { type Oid, ROOT_OID, type Tid } from './ids.ts'
import { OidSet } from './oid-set.ts'
import type { Persistent } from './persistent.ts'
import { referencesOf } from './pickle.ts'
import { isGone, type StoredRecord } from './record.ts'
import { describeRecord } from './record-place.ts'
import type { Storage, StorageSnapshot } from './storage/storage.ts'
import { isContainer } from './traversal.ts'
import { verifyBlobs } from './verify-blobs.ts'

export interface Problem {
  /** What kind of thing is damaged. */
  readonly kind: 'file' | 'record' | 'transaction' | 'reference' | 'parent' | 'blob' | 'outbox'
  readonly oid?: Oid
  /** Where the object is in the tree, if it is in it and can be told. */
  readonly path?: string
  readonly message: string
}

/** What `db.verify` has found. */
export interface VerifyResult {
  readonly ok: boolean
  readonly objects: number
  readonly revisions: number
  readonly transactions: number
  readonly problems: readonly Problem[]
}

/** At most so many problems are listed. */
const MOST = 1000

/** @param open opens a connection of the database, for reading with the application's classes */
export async function verify(
  storage: Storage,
  open: () => Connection,
  progress: ((done: number) => void) | undefined,
): Promise<VerifyResult> {
  const problems: Problem[] = storage.damage.map(name => ({
    kind: 'file',
    message: `${name} is not as it was written`,
  }))
  if (storage.lostTid !== undefined)
    problems.push({
      kind: 'transaction',
      message: `the last transaction was ${storage.lostTid}, the last one that can be read is ${storage.lastTid}; objects may be older than they were`,
    })
  const report = (problem: Problem) => {
    if (problems.length < MOST) problems.push(problem)
  }
  await storage.settled()
  const upTo = storage.lastTid
  const { packed } = storage
  const records = await verifyRecords(storage, upTo, report, progress)
  const transactions = await verifyTransactions(storage, upTo, report)
  // a pack meanwhile takes away what was counted
  if (problems.length === 0 && storage.packed === packed && transactions.writes !== records.unpacked)
    report({
      kind: 'transaction',
      message: `there are ${records.unpacked} revisions since the last pack, but the transactions tell of ${transactions.writes}`,
    })
  if (problems.length === 0) await verifyParents(storage, open, report)
  await verifyBlobs(storage, open, report)
  await verifyOutbox(storage, report)
  return {
    ok: problems.length === 0,
    objects: records.objects,
    revisions: records.revisions,
    transactions: transactions.count,
    problems,
  }
}

export type Report = (problem: Problem) => void

/** Checksums, states and references. */
async function verifyRecords(
  storage: Storage,
  upTo: Tid,
  report: Report,
  progress: ((done: number) => void) | undefined,
): Promise<{ objects: number; revisions: number; unpacked: number }> {
  const present = new OidSet()
  const referred = new Map<Oid, Oid>()
  const counts = { objects: 0, revisions: 0, unpacked: 0 }
  for await (const { oid, current, record, damage } of whatCanBeRead(storage.records(), report)) {
    counts[current ? 'objects' : 'revisions'] += 1
    progress?.(counts.objects + counts.revisions)
    if (record === undefined) {
      report({ kind: 'record', oid, message: damage })
      continue
    }
    if (record.serial > storage.packed && record.serial <= upTo) counts.unpacked += 1
    if (isGone(record)) continue
    if (current) present.add(oid)
    try {
      const references = referencesOf(record.state)
      if (current) for (const other of references) referred.set(other, oid)
    } catch (error) {
      report({ kind: 'record', oid, message: `object ${oid}, revision ${record.serial}: ${messageOf(error)}` })
    }
  }
  const dangling = [...referred].filter(([oid]) => !present.has(oid))
  const snapshot = storage.snapshot()
  try {
    for (const [oid, from] of dangling.slice(0, MOST)) {
      const referrer = describeRecord(from, at => ifReadable(snapshot, at))
      report({ kind: 'reference', oid, message: `${referrer} refers to object ${oid}, which is not there` })
    }
  } finally {
    snapshot.release()
  }
  return counts
}

/** What cannot be read has been reported. */
function ifReadable(snapshot: StorageSnapshot, oid: Oid): StoredRecord | undefined {
  try {
    return snapshot.load(oid)
  } catch {
    return undefined
  }
}

async function* whatCanBeRead<T>(entries: AsyncIterable<T>, report: Report): AsyncGenerator<T> {
  try {
    yield* entries
  } catch (error) {
    report({ kind: 'file', message: messageOf(error) })
  }
}

/** The chain, and that each transaction has left what it wrote. */
async function verifyTransactions(
  storage: Storage,
  upTo: Tid,
  report: Report,
): Promise<{ count: number; writes: number }> {
  const counts = { count: 0, writes: 0 }
  const snapshot = storage.snapshot()
  try {
    for await (const { tid, oids } of storage.transactions({ upTo })) {
      counts.count += 1
      if (tid <= storage.packed) continue
      counts.writes += oids.length
      for (const oid of oids) {
        if (!hasRevision(snapshot, oid, tid))
          report({ kind: 'transaction', oid, message: `what transaction ${tid} wrote to object ${oid} is not there` })
      }
    }
  } catch (error) {
    if (!(error instanceof ObjectError)) throw error
    report({ kind: 'transaction', message: error.message })
  } finally {
    snapshot.release()
  }
  return counts
}

function hasRevision(snapshot: StorageSnapshot, oid: Oid, tid: Tid): boolean {
  for (const { serial } of snapshot.revisions(oid)) if (serial <= tid) return serial === tid
  return false
}

async function verifyOutbox(storage: Storage, report: Report): Promise<void> {
  for await (const [key, value] of whatCanBeRead(storage.outboxRows(''), report))
    if (value === undefined)
      report({ kind: 'outbox', message: `the outbox row ${key} is damaged: its checksum does not agree` })
    else if (key.startsWith(BLOB_ROWS) && contentOfRow(key) === undefined)
      report({ kind: 'outbox', message: `the outbox row ${key} is damaged: it names no content of a blob` })
}

/**
 * That containers and what is in them agree. Reads with the application's classes. What was taken out of its container without being changed,
 * since its class is not registered, says still where it was. Objects of newer versions of their classes are passed over, as those of unknown
 * ones are: this program cannot read them, which is no damage.
 */
async function verifyParents(storage: Storage, open: () => Connection, report: Report): Promise<void> {
  const connection = open()
  const misplaced = new Map<Oid, string>()
  try {
    for await (const { oid, current, record } of storage.records()) {
      if (!current || record === undefined || isGone(record)) continue
      try {
        const object = connection.get(oid)
        const name = misplacedName(object)
        if (name !== undefined) misplaced.set(oid, name)
        const problem = object instanceof BTree ? await problemInTree(object) : undefined
        if (problem !== undefined)
          report({ kind: 'record', oid, message: `${record.className} (object ${oid}) is no sound tree: ${problem}` })
      } catch (error) {
        if (!(error instanceof ObjectError)) throw error
        // it, or what it is in, is of a newer version of its class; or it came after the view
        if (error.code !== 'UNKNOWN_CLASS' && connection.seen(oid) !== undefined)
          report({ kind: 'parent', oid, message: error.message })
      }
    }
    const reachable = misplaced.size === 0 ? new OidSet() : reachableIn(connection)
    for (const [oid, name] of misplaced)
      if (reachable.has(oid))
        report({
          kind: 'parent',
          oid,
          message: `object ${oid} says it is '${name}' of a container that has something else there`,
        })
  } catch (error) {
    if (!(error instanceof ObjectError)) throw error
    report({ kind: 'parent', message: error.message })
  } finally {
    connection.close()
  }
}

/** The name that an object says it has in its container, if the container has something else there. */
function misplacedName(object: Persistent): string | undefined {
  const { __parent__: parent, __name__: name } = object
  if (object instanceof Broken || parent === undefined || name === undefined || !isContainer(parent)) return undefined
  const found = parent.get(name) as Persistent | undefined
  return found?._p_oid === object._p_oid ? undefined : name
}

/** What a pack would keep. */
function reachableIn(connection: Connection): OidSet {
  const found = new OidSet()
  const pending = [ROOT_OID]
  for (let oid = pending.pop(); oid !== undefined; oid = pending.pop()) {
    const record = found.add(oid) ? connection.seen(oid) : undefined
    if (record !== undefined) pending.push(...referencesOf(record.state))
  }
  return found
}
