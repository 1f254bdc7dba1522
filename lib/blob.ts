/**
 * Blob: a large binary, whose content lies outside the records (ZODB's Blob).
 *
 * A content is written whole and never changed; writing again makes another one, and the one before stays for history until a pack. It is part
 * of the transaction: aborted or rolled back, nothing is left of it.
 */
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { checkOptions, unexpected } from './arguments.ts'
import type { Connection } from './connection.ts'
import { ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import { Persistent } from './persistent.ts'
import { registerClass } from './registry.ts'
import type { BlobContent, BlobSource, BlobStore } from './storage/blob-store.ts'
import type { DataManager, Transaction } from './transaction.ts'
import { type Located, parents } from './traversal.ts'

/** The outbox rows `blob/<content id>/<oid>` say which committed blob has which content; they stay as long as it does. */
export const BLOB_ROWS = 'blob/'

/** A large binary. Its content lies in a file of its own, and is written and read as a stream. */
export class Blob extends Persistent {
  /** Media type, such as `image/png`. */
  mediaType: string
  private content: BlobContent | undefined

  constructor(options: { readonly mediaType?: string } = {}) {
    super()
    const { mediaType = 'application/octet-stream' } = checkOptions('Blob', options)
    this.mediaType = mediaType
    this.content = undefined
  }

  /** Bytes of the content; 0 as long as none was written. */
  get size(): number {
    return this.content?.size ?? 0
  }

  /**
   * Replaces the content. It is on disk when this resolves, and there for others when the transaction has committed.
   * @param source bytes, text (as UTF-8), or a stream of them
   * @throws {ObjectError} NOT_CONNECTED if the blob is in no tree yet; INVALID_ARGUMENT for what is neither;
   *   DATABASE_FAILED if it cannot be written; whatever the source throws
   */
  async write(source: BlobSource): Promise<void> {
    const connection = connectionOf(this)
    connection.add(this)
    const { transaction, blobs } = connection
    const staged = () => StagedContents.of(transaction, blobs)
    staged()
    const content = await blobs.stage(source)
    if (transaction.status !== 'active') {
      await blobs.remove([content.id])
      throw new ObjectError(
        'TRANSACTION_FAILED',
        'the transaction ended before the content of the blob was written; await write()',
      )
    }
    staged().add(content.id, this, true)
    this.content = content
  }

  /**
   * Takes over the content of another blob of the same database. Contents never change, so nothing is copied.
   * @throws {ObjectError} NOT_CONNECTED, INVALID_REFERENCE for a blob of another database
   */
  share(other: Blob): void {
    if (!(other instanceof Blob)) throw unexpected('share', 'a Blob', other)
    const connection = connectionOf(this)
    if (connectionOf(other).database !== connection.database)
      throw new ObjectError(
        'INVALID_REFERENCE',
        'the blobs are of different databases; copy the content with write(other.read())',
      )
    connection.add(this)
    const { content } = other
    if (content !== undefined) adoptContent(connection, this, content, false)
    this.content = content === undefined ? undefined : { ...content }
  }

  /**
   * The content as a stream. What was read is checked at its end: the stream fails with DATABASE_CORRUPT if it is not what was written.
   * @throws {ObjectError} NOT_CONNECTED
   */
  read(): Readable {
    const { content } = this
    const { blobs } = connectionOf(this)
    return content === undefined ? Readable.from([]) : blobs.read(content)
  }

  /** The whole content. @throws as `read` */
  bytes(): Promise<Buffer> {
    return buffer(this.read())
  }
}

/** Makes a new blob an owner of the content that its state names already (a copy's, an import's). */
export function adoptContent(connection: Connection, blob: Blob, content: BlobContent, fresh: boolean): void {
  connection.add(blob)
  StagedContents.of(connection.transaction, connection.blobs).add(content.id, blob, fresh)
}

/** The connection of a blob, or of the tree that it was put in. */
function connectionOf(blob: Blob): Connection {
  for (const object of [blob as Located, ...parents(blob)] as Persistent[])
    if (object._p_jar !== undefined) return object._p_jar as Connection
  throw new ObjectError('NOT_CONNECTED', 'the blob is in no database; add it to the tree first')
}

/** A content that a blob gets in a transaction; `fresh` if it was written in it. */
interface Staged {
  readonly id: string
  readonly blob: Blob
  readonly fresh: boolean
}

const freshIds = (contents: readonly Staged[]): string[] => contents.filter(({ fresh }) => fresh).map(({ id }) => id)

/** The contents that blobs get in a transaction. */
class StagedContents implements DataManager {
  readonly sortKey = 'blobs'
  private readonly store: BlobStore
  private readonly contents: Staged[] = []

  private constructor(store: BlobStore) {
    this.store = store
  }

  static of(tx: Transaction, store: BlobStore): StagedContents {
    return tx.joined(StagedContents, 'write', () => new StagedContents(store))
  }

  add(id: string, blob: Blob, fresh: boolean): void {
    this.contents.push({ id, blob, fresh })
  }

  prepare(tx: Transaction): void {
    for (const { id, blob } of this.contents) tx.outbox.set(blobRow(id, blob._p_oid as Oid), new Uint8Array())
  }

  finish(): void {
    this.store.keep(freshIds(this.contents)).catch(() => undefined) // done at the next opening; until then it is read where it is
  }

  async decided(_: Transaction, happened: boolean): Promise<void> {
    if (happened) this.finish()
    else await this.store.remove(freshIds(this.contents))
  }

  async abort(tx: Transaction): Promise<void> {
    if (!tx.inDoubt) await this.store.remove(freshIds(this.contents))
  }

  savepoint(): { rollback(): void } {
    const count = this.contents.length
    return {
      rollback: () => {
        const dropped = this.contents.splice(count)
        void this.store.remove(freshIds(dropped)).catch(() => undefined) // removed at the next opening
      },
    }
  }
}

export const blobRow = (id: string, oid: Oid): string => `${BLOB_ROWS}${id}/${oid}`

registerClass('Blob', Blob)
