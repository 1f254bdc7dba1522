/**
 * The directory that a subtree is written to or read from. Nothing outside of it is touched: names have no way out (names.ts), and a symbolic
 * link, or anything else that is neither a file nor a directory, is refused wherever it stands.
 */
import { createHash, randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { lstat, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { ObjectError } from '../../objects/index.ts'

export type Source = AsyncIterable<Uint8Array> | Iterable<Uint8Array>

/** The entries of a directory that count: not those whose names begin with a dot. @throws {ObjectError} INVALID_ARGUMENT */
export async function entriesOf(
  directory: string,
): Promise<{ readonly name: string; readonly isDirectory: boolean }[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(cause => {
    throw failed(directory, 'read', cause)
  })
  return entries
    .filter(({ name }) => !name.startsWith('.'))
    .map(entry => {
      if (!entry.isFile() && !entry.isDirectory())
        throw new ObjectError(
          'INVALID_ARGUMENT',
          `${join(directory, entry.name)} is ${entry.isSymbolicLink() ? 'a symbolic link' : 'neither a file nor a directory'}, which is not followed; take it away`,
        )
      return { name: entry.name, isDirectory: entry.isDirectory() }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** How many entries there are in a directory and in those in it. @throws {ObjectError} INVALID_ARGUMENT */
export async function countEntries(directory: string, pause: () => Promise<void>): Promise<number> {
  let count = 0
  for (const { name, isDirectory } of await entriesOf(directory)) {
    await pause()
    count += isDirectory ? 1 + (await countEntries(join(directory, name), pause)) : 1
  }
  return count
}

/** Makes a directory unless it is there. @throws {ObjectError} INVALID_ARGUMENT if something else is */
export async function makeDirectory(directory: string): Promise<void> {
  try {
    await mkdir(directory)
  } catch (cause) {
    const found = await lstat(directory).catch(() => undefined)
    if (found?.isDirectory()) return
    if (found === undefined) throw failed(directory, 'made', cause)
    throw new ObjectError('INVALID_ARGUMENT', `${directory} is in the way: it is no directory; take it away`)
  }
}

/** A file's content. @returns undefined if there is none. @throws {ObjectError} INVALID_ARGUMENT */
export async function readFileOf(path: string): Promise<Buffer | undefined> {
  const pieces: Buffer[] = []
  try {
    for await (const piece of piecesOf(path)) pieces.push(piece)
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined
    throw error
  }
  return Buffer.concat(pieces)
}

/** A file's content in pieces. A link is not followed. @throws {ObjectError} INVALID_ARGUMENT */
export async function* piecesOf(path: string): AsyncGenerator<Buffer> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(cause => {
    throw failed(path, 'read', cause)
  })
  try {
    if (!(await file.stat()).isFile()) throw new ObjectError('INVALID_ARGUMENT', `${path} is no file; take it away`)
    yield* file.createReadStream({ autoClose: false, highWaterMark: 256 * 1024 })
  } finally {
    await file.close()
  }
}

/** SHA-256 of a file, in hexadecimal digits; undefined if there is none. */
export async function digestOf(path: string): Promise<string | undefined> {
  const hash = createHash('sha256')
  try {
    for await (const piece of piecesOf(path)) hash.update(piece)
  } catch (error) {
    if (((error as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return undefined
    throw error
  }
  return hash.digest('hex')
}

/** Removes what calls of `write` left that were killed. */
export async function removePartials(directory: string): Promise<void> {
  for (const name of await readdir(directory))
    if (/^\.[0-9a-f]{12}\.partial$/.test(name)) await rm(join(directory, name), { force: true })
}

/** A file that is written, and not yet there under its name. */
export interface Written {
  readonly sha256: string
  /** Gives it its name. */
  keep(): Promise<void>
  discard(): Promise<void>
}

/** Writes a file beside its place. @throws {ObjectError} INVALID_ARGUMENT; what the source throws */
export async function write(path: string, source: Source): Promise<Written> {
  const partial = join(dirname(path), `.${randomBytes(6).toString('hex')}.partial`)
  const discard = () => rm(partial, { force: true })
  const file = await open(partial, 'wx').catch(cause => {
    throw failed(path, 'written', cause)
  })
  const hash = createHash('sha256')
  try {
    for await (const piece of source) {
      hash.update(piece)
      await file.writeFile(piece)
    }
    await file.sync()
    await file.close()
  } catch (cause) {
    await file.close().catch(() => undefined)
    await discard()
    throw cause instanceof ObjectError ? cause : failed(path, 'written', cause)
  }
  const keep = () =>
    rename(partial, path).catch(async cause => {
      await discard()
      throw failed(path, 'written', cause)
    })
  return { sha256: hash.digest('hex'), keep, discard }
}

function failed(path: string, done: string, cause: unknown): ObjectError {
  const { code, message } = cause as NodeJS.ErrnoException
  const why = code === 'ELOOP' ? 'it is a symbolic link, which is not followed' : message
  return new ObjectError('INVALID_ARGUMENT', `${path} cannot be ${done}: ${why}`, { cause })
}
