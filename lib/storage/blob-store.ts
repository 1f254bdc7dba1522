/**
 * Where the contents of blobs lie: in files beside LevelDB, each written once under a random name and never changed.
 *
 *   blobs/new/<id>       being written, or written and waiting for the move below
 *   blobs/<xx>/<id>      the content of a committed blob; xx are the first two digits of the id
 *
 * A content is written and synced before the commit of its transaction; the commit's batch has a row `blob/<id>/<oid>` (an outbox row that
 * stays); then the file moves. When the database is opened, what is still in `new` moves if there is a row, and goes if there is none.
 */
import { createHash, randomBytes } from 'node:crypto'
import { constants, createReadStream, existsSync, openSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { inspect } from 'node:util'
import { messageOf, ObjectError } from '../errors.ts'

/** What a blob's record says of its content. */
export interface BlobContent {
  readonly id: string
  /** Bytes. */
  readonly size: number
  /** SHA-256, in hexadecimal digits. */
  readonly sha256: string
}

/** Bytes, text, or pieces of either. */
export type BlobSource = Uint8Array | string | Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>

const ID = /^[0-9a-f]{24}$/
const SHA256 = /^[0-9a-f]{64}$/

/** Whether that can be the id of a content. It becomes the name of a file, so nothing else may be used as one. */
export const isContentId = (id: unknown): id is string => typeof id === 'string' && ID.test(id)

/**
 * What a record says of its content, if it can be that.
 * @throws {ObjectError} DATABASE_CORRUPT
 */
export function soundContent(value: unknown): BlobContent {
  const { id, size, sha256 } = (value ?? {}) as Partial<Record<keyof BlobContent, unknown>>
  if (isContentId(id) && Number.isSafeInteger(size) && typeof sha256 === 'string' && SHA256.test(sha256))
    if ((size as number) >= 0) return { id, size: size as number, sha256 }
  throw new ObjectError('DATABASE_CORRUPT', 'what a blob says of its content is damaged; restore it from a backup')
}

/** Bytes of a content in memory that are passed on at a time. */
const PIECE = 64 * 1024

export interface BlobStore {
  /**
   * Writes a content, durably; text as UTF-8. Nobody else sees it yet. If it fails, nothing is left.
   * @throws {ObjectError} INVALID_ARGUMENT for what is neither bytes nor text; DATABASE_FAILED if it cannot be written; whatever the source throws
   */
  stage(source: BlobSource): Promise<BlobContent>
  /** Makes staged contents permanent; the row that says so is durable. */
  keep(ids: readonly string[]): Promise<void>
  remove(ids: readonly string[]): Promise<void>
  /**
   * @throws (by the stream) {ObjectError} DATABASE_CORRUPT if the content is missing or not as it was written, DATABASE_FAILED if it cannot
   *   be read
   */
  read(content: BlobContent): Readable
  /** What was staged and never kept or removed. */
  staged(): Promise<string[]>
}

async function* chunksOf(source: BlobSource): AsyncGenerator<Uint8Array> {
  if (typeof source === 'string' || ArrayBuffer.isView(source)) yield bytesOf(source)
  else if (Symbol.asyncIterator in Object(source) || Symbol.iterator in Object(source))
    for await (const chunk of source) yield bytesOf(chunk)
  else throw noBytes(source)
}

/** Streams give text where they were asked to decode it, and other programs' typed arrays count by elements. */
function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw noBytes(chunk)
}

function noBytes(found: unknown): ObjectError {
  return new ObjectError(
    'INVALID_ARGUMENT',
    `the content of a blob must be bytes, text, or a stream of them, found ${inspect(found, { depth: 0 })}`,
  )
}

/** Contents in the directory of a database. */
export function directoryBlobs(directory: string): BlobStore {
  const top = join(directory, 'blobs')
  const fresh = join(top, 'new')
  const pathOf = (id: string) => join(top, id.slice(0, 2), id)
  const freshPathOf = (id: string) => join(fresh, id)
  return {
    async stage(source) {
      const unwritten = (cause: unknown): never => {
        throw notWritten(fresh, cause)
      }
      await mkdir(fresh, { recursive: true, mode: 0o700 }).catch(unwritten)
      const id = randomBytes(12).toString('hex')
      const path = join(fresh, id)
      const file = await open(path, 'wx', 0o600).catch(unwritten)
      const hash = createHash('sha256')
      let size = 0
      try {
        for await (const chunk of chunksOf(source)) {
          hash.update(chunk)
          size += chunk.length
          await file.writeFile(chunk).catch(unwritten)
        }
        await file.sync().catch(unwritten)
        await file.close().catch(unwritten)
        await sync(fresh).catch(unwritten)
      } catch (error) {
        await file.close().catch(() => undefined)
        await rm(path, { force: true }).catch(() => undefined) // removed at the next opening
        throw error
      }
      return { id, size, sha256: hash.digest('hex') }
    },
    async keep(ids) {
      for (const id of ids.filter(isContentId)) {
        await mkdir(join(top, id.slice(0, 2)), { recursive: true, mode: 0o700 })
        if (existsSync(freshPathOf(id))) await rename(freshPathOf(id), pathOf(id))
      }
    },
    async remove(ids) {
      for (const id of ids.filter(isContentId))
        for (const path of [freshPathOf(id), pathOf(id)]) await rm(path, { force: true })
    },
    read(content) {
      return reading(content, ({ id }) => {
        // what takes the place of a file must hold nobody up
        const flags = constants.O_RDONLY | constants.O_NONBLOCK
        // it may move at any moment, from here to there: what is open stays open
        const fd = openedIfThere(freshPathOf(id), flags)
        const path = fd === undefined ? pathOf(id) : freshPathOf(id)
        return { path, source: createReadStream(path, { flags, fd } as object) }
      })
    },
    staged: async () => {
      if (!existsSync(fresh)) return []
      const names = await readdir(fresh, { withFileTypes: true }).catch(() => [])
      return names.filter(each => each.isFile() && isContentId(each.name)).map(({ name }) => name)
    },
  }
}

function openedIfThere(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined
    throw error
  }
}

/**
 * Copies a content, durably, into the store of another directory, and checks it on the way.
 * @throws {ObjectError} DATABASE_CORRUPT
 */
export async function copyContent(from: BlobStore, said: BlobContent, directory: string): Promise<void> {
  const content = soundContent(said)
  const folder = join(directory, 'blobs', content.id.slice(0, 2))
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(join(folder, content.id), from.read(content), { flag: 'wx', mode: 0o600 })
  await sync(join(folder, content.id))
  await sync(folder)
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  await handle.sync().finally(() => handle.close())
}

/** Contents of a database that is in memory. */
export function memoryBlobs(): BlobStore {
  const contents = new Map<string, Buffer>()
  return {
    async stage(source) {
      const parts: Uint8Array[] = []
      for await (const chunk of chunksOf(source)) parts.push(chunk)
      const bytes = Buffer.concat(parts)
      const id = randomBytes(12).toString('hex')
      contents.set(id, bytes)
      return { id, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
    },
    keep: () => Promise.resolve(),
    async remove(ids) {
      for (const id of ids) contents.delete(id)
    },
    read: content =>
      reading(content, ({ id }) => ({
        path: 'in memory',
        source: Readable.from(pieces(contents.get(id) ?? Buffer.alloc(0))),
      })),
    staged: () => Promise.resolve([]),
  }
}

function* pieces(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += PIECE) yield bytes.subarray(at, at + PIECE)
}

/** Where a content is, for messages, and its bytes. */
interface Found {
  readonly path: string
  readonly source: Readable
}

/** A stream of a content, that is looked for as soon as it is asked for; a content that cannot be one fails the stream. */
function reading(content: BlobContent, find: (content: BlobContent) => Found): Readable {
  try {
    const sound = soundContent(content)
    const found = find(sound)
    const { source } = found
    // it may fail before anybody reads
    source.on('error', () => undefined)
    return Readable.from(checked(sound, found)).once('close', () => source.destroy())
  } catch (error) {
    return new Readable().destroy(error as Error)
  }
}

/** Passes a content on, and fails at its end if it is not what was written. */
async function* checked({ size, sha256 }: BlobContent, { path, source }: Found): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256')
  let length = 0
  try {
    for await (const chunk of source) {
      hash.update(chunk)
      length += chunk.length
      if (length > size) break
      yield chunk
    }
  } catch (cause) {
    throw unread(path, cause)
  }
  if (length > size) throw damaged(path, `it has more than ${size} bytes`)
  if (length !== size) throw damaged(path, `it has ${length} bytes instead of ${size}`)
  if (hash.digest('hex') !== sha256) throw damaged(path, 'its checksum does not agree')
}

/** What says that there is no such file, or that the disk cannot give it back. */
const DAMAGES: Readonly<Record<string, string>> = {
  ENOENT: 'it is missing',
  ENOTDIR: 'it is missing',
  EISDIR: 'it is a directory',
  EIO: 'the disk cannot read it',
}

function unread(path: string, cause: unknown): ObjectError {
  const damage = DAMAGES[(cause as NodeJS.ErrnoException).code ?? '']
  if (damage !== undefined) return damaged(path, damage, cause)
  return new ObjectError(
    'DATABASE_FAILED',
    `the content of a blob (${path}) cannot be read: ${messageOf(cause)}; mend the cause (permissions, open files), then read it again`,
    { cause },
  )
}

function notWritten(directory: string, cause: unknown): ObjectError {
  return new ObjectError(
    'DATABASE_FAILED',
    `the content of a blob cannot be written in ${directory}: ${messageOf(cause)}; nothing of it is kept. Mend the cause (free space, permissions), then write it again`,
    { cause },
  )
}

function damaged(path: string, what: string, cause?: unknown): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the content of a blob (${path}) is damaged: ${what}; restore that file, or the database, from a backup`,
    { cause },
  )
}
