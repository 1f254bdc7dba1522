/** Keeping the contents of blobs in step with the database: at open, and after a pack. */
import { BLOB_ROWS, blobRow } from './blob.ts'
import type { Oid } from './ids.ts'
import { asItStands, unpickle } from './pickle.ts'
import { isGone, type RecordBody } from './record.ts'
import { type BlobContent, isContentId, soundContent } from './storage/blob-store.ts'
import type { Storage, StorageSnapshot } from './storage/storage.ts'

/** Finishes what a process that was killed had begun: contents whose transaction committed are kept, others removed. */
export async function settleStaged(storage: Storage): Promise<void> {
  const { blobs } = storage
  for (const id of await blobs.staged()) {
    await ((await hasOwner(storage, id)) ? blobs.keep([id]) : blobs.remove([id]))
  }
}

async function hasOwner(storage: Storage, id: string): Promise<boolean> {
  for await (const _ of storage.outboxRows(`${BLOB_ROWS}${id}/`)) return true
  return false
}

/** The committed contents, each with the blobs that have it. What is no such row is passed over; verify tells of it. */
export async function* committedContents(storage: Storage): AsyncGenerator<{ id: string; oid: Oid }> {
  for await (const [key] of storage.outboxRows(BLOB_ROWS)) {
    const content = contentOfRow(key)
    if (content !== undefined) yield content
  }
}

/** What a row of blobs says; undefined if it is none. */
export function contentOfRow(key: string): { id: string; oid: Oid } | undefined {
  const [id, oid, ...rest] = key.slice(BLOB_ROWS.length).split('/')
  if (!isContentId(id) || oid === undefined || !/^[1-9]\d{0,15}$/.test(oid) || rest.length > 0) return undefined
  return { id, oid: Number(oid) }
}

/** What an open connection sees of an object. */
export type View = (oid: Oid) => RecordBody | undefined

/**
 * Removes the contents that no revision of their blob names any more, and that nobody sees.
 * @param views of the connections that are open now; what only they see goes with a later sweep
 */
export async function sweepBlobs(storage: Storage, views: () => Iterable<View>): Promise<void> {
  const known: { id: string; oid: Oid }[] = []
  for await (const content of committedContents(storage)) known.push(content)
  // from here on the snapshot shows every revision that came with these rows
  await storage.settled()
  const snapshot = storage.snapshot()
  let unused: typeof known
  try {
    const open = [...views()]
    unused = known.filter(
      ({ id, oid }) => contentOf(snapshot, oid, id) === undefined && !open.some(view => shows(view, oid, id)),
    )
  } finally {
    snapshot.release()
  }
  if (unused.length === 0) return
  // the rows first: without them, what is left of the files is garbage, never a blob without its content
  await storage.writeOutbox(
    unused.map(({ id, oid }) => [blobRow(id, oid), undefined]),
    { sync: true },
  )
  for (const id of new Set(unused.map(each => each.id)))
    if (!(await hasOwner(storage, id))) await storage.blobs.remove([id])
}

function shows(view: View, oid: Oid, id: string): boolean {
  try {
    const record = view(oid)
    return record !== undefined && (saidContent(record) as Partial<BlobContent> | null | undefined)?.id === id
  } catch {
    // what cannot be read is not known to be seen by nobody
    return true
  }
}

/** What the revisions of a blob say of that content; undefined if none of them has it. */
export function contentOf(snapshot: StorageSnapshot, oid: Oid, id: string): BlobContent | undefined {
  for (const record of snapshot.revisions(oid)) {
    const content = saidContent(record)
    if ((content as Partial<BlobContent> | undefined | null)?.id === id) return soundContent(content)
  }
  return undefined
}

/** The content that a revision of a blob has. @throws {ObjectError} DATABASE_CORRUPT if it says what can be none */
export function contentIn(record: RecordBody): BlobContent | undefined {
  const content = saidContent(record)
  return content === undefined ? undefined : soundContent(content)
}

function saidContent(record: RecordBody): unknown {
  return isGone(record) ? undefined : unpickle(record.state, asItStands).content
}
