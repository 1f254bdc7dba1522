/** What a database holds, counted in one look through its records. */
import { committedContents } from './blob-care.ts'
import { timeOf } from './history.ts'
import type { Tid } from './ids.ts'
import { isGone } from './record.ts'
import type { Storage } from './storage/storage.ts'

export interface DatabaseStats {
  /** The database's id. */
  readonly id: string
  /** Objects that are there, with those that nothing refers to any more (the next pack removes them). */
  readonly objects: number
  /** Earlier revisions of objects, which history keeps until a pack. */
  readonly revisions: number
  /** Bytes of the states of the objects, and of the earlier revisions. */
  readonly bytes: { readonly objects: number; readonly revisions: number }
  readonly transactions: number
  /** Contents of blobs, with those of earlier revisions. */
  readonly blobs: number
  /** The newest transaction. */
  readonly last: { readonly tid: Tid; readonly time: Date }
  /** Up to where history was packed; undefined if it never was. */
  readonly packed: { readonly tid: Tid; readonly time: Date } | undefined
  /** Objects by the names of their classes, most first. */
  readonly classes: readonly { readonly name: string; readonly objects: number; readonly bytes: number }[]
  /** Records that cannot be read. */
  readonly damaged: number
}

/** @throws {ObjectError} DATABASE_CORRUPT, DATABASE_FAILED, DATABASE_CLOSED */
export async function statsOf(
  storage: Storage,
  progress: ((done: number) => void) | undefined,
): Promise<DatabaseStats> {
  const classes = new Map<string, { objects: number; bytes: number }>()
  const counts = { objects: 0, revisions: 0 }
  const bytes = { objects: 0, revisions: 0 }
  let damaged = 0
  let done = 0
  for await (const { current, record } of storage.records()) {
    progress?.(++done)
    if (record === undefined) damaged += 1
    if (record === undefined || (current && isGone(record))) continue
    const kind = current ? 'objects' : 'revisions'
    counts[kind] += 1
    bytes[kind] += record.state.length
    if (!current) continue
    const known = classes.get(record.className) ?? { objects: 0, bytes: 0 }
    classes.set(record.className, known)
    known.objects += 1
    known.bytes += record.state.length
  }
  const moment = (tid: Tid) => ({ tid, time: timeOf(tid) })
  return {
    id: storage.id,
    ...counts,
    bytes,
    transactions: await countOf(storage.transactions()),
    blobs: (await contentsOf(storage)).size,
    last: moment(storage.lastTid),
    packed: storage.packed === 0 ? undefined : moment(storage.packed),
    classes: Array.from(classes, ([name, numbers]) => ({ name, ...numbers })).sort(
      (a, b) => b.objects - a.objects || (a.name < b.name ? -1 : 1),
    ),
    damaged,
  }
}

async function countOf(items: AsyncIterable<unknown>): Promise<number> {
  let count = 0
  for await (const _ of items) count += 1
  return count
}

async function contentsOf(storage: Storage): Promise<Set<string>> {
  const ids = new Set<string>()
  for await (const { id } of committedContents(storage)) ids.add(id)
  return ids
}
