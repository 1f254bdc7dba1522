/** Keeping the contents of blobs in step with the database: at open, and after a pack. */
import { BLOB_ROWS } from './blob.ts'
import type { Oid } from './persistent.ts'
import { unpickle } from './pickle.ts'
import { isGone } from './record.ts'
import type { BlobContent } from './storage/blob-store.ts'
import type { Storage, StorageSnapshot } from './storage/storage.ts'

/** Finishes what a process that was killed had begun: contents whose transaction committed are kept, others removed. */
export async function settleStaged(storage: Storage): Promise<void> {
  const { blobs } = storage
  for (const id of await blobs.staged()) {
    let committed = false
    for await (const [key] of storage.outboxRows(BLOB_ROWS + id)) committed ||= key === BLOB_ROWS + id
    await (committed ? blobs.keep([id]) : blobs.remove([id]))
  }
}

/** The committed contents, each with the blob that it belongs to. */
export async function* committedContents(storage: Storage): AsyncGenerator<{ id: string; oid: Oid }> {
  for await (const [key, value] of storage.outboxRows(BLOB_ROWS))
    yield { id: key.slice(BLOB_ROWS.length), oid: Number(Buffer.from(value).toString()) }
}

/** Removes the contents that no revision of their blob names any more. */
export async function sweepBlobs(storage: Storage): Promise<void> {
  const known: { id: string; oid: Oid }[] = []
  for await (const content of committedContents(storage)) known.push(content)
  // from here on the snapshot shows every revision that came with these rows
  await storage.settled()
  const snapshot = storage.snapshot()
  const unused = known.filter(({ id, oid }) => !isNamed(snapshot, oid, id)).map(({ id }) => id)
  snapshot.release()
  if (unused.length === 0) return
  // the rows first: without them, what is left of the files is garbage, never a blob without its content
  await storage.writeOutbox(
    unused.map(id => [BLOB_ROWS + id, undefined]),
    { sync: true },
  )
  await storage.blobs.remove(unused)
}

function isNamed(snapshot: StorageSnapshot, oid: Oid, id: string): boolean {
  for (const record of snapshot.revisions(oid)) {
    if (isGone(record)) continue
    const { content } = unpickle(record.state, reference => reference) as { content?: BlobContent }
    if (content?.id === id) return true
  }
  return false
}
