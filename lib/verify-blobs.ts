/** Verify, of blobs: each content is there and as it was written, and has a row that says whose it is. */
import { Blob, blobRow } from './blob.ts'
import { committedContents, contentIn, contentOf } from './blob-care.ts'
import type { Connection } from './connection.ts'
import { messageOf, ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import type { StoredRecord } from './record.ts'
import { classNamed } from './registry.ts'
import type { BlobContent } from './storage/blob-store.ts'
import type { Storage } from './storage/storage.ts'
import type { Report } from './verify.ts'

/** No pack may remove contents meanwhile. What cannot be read of records and rows is passed over: it has been told of. */
export async function verifyBlobs(storage: Storage, open: () => Connection, report: Report): Promise<void> {
  const found = (oid: Oid, message: string) => report({ kind: 'blob', oid, ...placeOf(open, oid), message })
  const snapshot = storage.snapshot()
  try {
    await verifyRows(storage, found)
    let last = ''
    let problem: string | undefined
    // those of one content come together, and it is read once
    for await (const { id, oid } of committedContents(storage)) {
      const content = readable(() => contentOf(snapshot, oid, id))
      if (content === undefined) continue
      if (id !== last) problem = await problemOf(storage, content)
      last = id
      if (problem !== undefined) found(oid, problem)
    }
  } catch (error) {
    if (!(error instanceof ObjectError)) throw error
  } finally {
    snapshot.release()
  }
}

/** Without its row, a content is taken for garbage, and left out of a backup. */
export async function verifyRows(storage: Storage, found: (oid: Oid, message: string) => void): Promise<void> {
  for await (const { oid, record } of storage.records()) {
    if (record === undefined) continue
    let content: BlobContent | undefined
    try {
      content = contentOfBlob(record)
    } catch (error) {
      if (!(error instanceof ObjectError)) throw error
      found(oid, `blob ${oid}, revision ${record.serial}: ${error.message}`)
    }
    if (content === undefined || (await hasRow(storage, blobRow(content.id, oid)))) continue
    found(oid, `the row that says that content ${content.id} belongs to blob ${oid} is missing`)
  }
}

/** The content of a record of a blob; one whose class is not registered is one if it says what only a blob does. */
function contentOfBlob(record: StoredRecord): BlobContent | undefined {
  const ctor = classNamed(record.className)?.ctor
  if (ctor === undefined) return readable(() => contentIn(record))
  const prototype: unknown = ctor.prototype
  return prototype === Blob.prototype || prototype instanceof Blob ? contentIn(record) : undefined
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof ObjectError) return undefined
    throw error
  }
}

async function hasRow(storage: Storage, row: string): Promise<boolean> {
  for await (const [key] of storage.outboxRows(row)) if (key === row) return true
  return false
}

async function problemOf(storage: Storage, content: BlobContent): Promise<string | undefined> {
  try {
    for await (const _ of storage.blobs.read(content));
    return undefined
  } catch (error) {
    return messageOf(error)
  }
}

function placeOf(open: () => Connection, oid: Oid): { path?: string } {
  const connection = open()
  try {
    const { __name__: name, physicalPath: path } = connection.get(oid)
    return name === undefined ? {} : { path }
  } catch {
    return {}
  } finally {
    connection.close()
  }
}
