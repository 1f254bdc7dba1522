/**
 * Writing a subtree as ordinary files: templates and files as what they are, folders as directories, mail hosts in the sidecar, anything else as
 * an export file. What was written before is brought up to date; a file that was edited since is not overwritten unprompted.
 *
 * Each file is renamed into place when it is whole, the sidecar after the files that it speaks of. A new directory has a first sidecar that
 * says that it is incomplete: after a kill the same call completes it, and nothing reads it before.
 */
import { lstat, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { entryOf } from '../../lib/index.ts'
import { exportTree, File, Folder, ObjectError, type Persistent, Template } from '../../objects/index.ts'
import { newObject, typeOf } from '../types.ts'
import { type Attributes, attributesOf } from './attributes.ts'
import { digestOf, entriesOf, makeDirectory, readFileOf, removePartials, type Source, write } from './disk.ts'
import { fileNameOf, folded, type Kind } from './names.ts'
import { type Description, type Entry, readSidecar, SIDECAR, type Sidecar, writeSidecar } from './sidecar.ts'

export interface WriteOptions {
  /** Overwrites files that were edited since they were written, or that are in the way. */
  readonly force: boolean
  /** Is told of each file. */
  readonly wrote: () => void
}

export interface WriteResult {
  /** How many files and directories there are now. */
  files: number
  /** How many of them are new or other than before. */
  written: number
  /** Files that were removed, because their objects are gone. */
  readonly removed: string[]
}

/** @param directory is made if need be. @throws {ObjectError} INVALID_ARGUMENT */
export async function writeTree(folder: Folder, directory: string, options: WriteOptions): Promise<WriteResult> {
  await makeDirectory(directory)
  const before = await sidecarIn(directory)
  if (before === undefined && (await entriesOf(directory)).length > 0)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `${directory} is not empty, and was not made by export-dir; choose another directory`,
    )
  const result: WriteResult = { files: 0, written: 0, removed: [] }
  await writeFolder(folder, directory, before, options, result)
  return result
}

export async function sidecarIn(directory: string): Promise<Sidecar | undefined> {
  const file = join(directory, SIDECAR)
  const text = await readFileOf(file)
  return text === undefined ? undefined : readSidecar(text.toString('utf8'), file)
}

async function writeFolder(
  folder: Folder,
  directory: string,
  before: Sidecar | undefined,
  options: WriteOptions,
  result: WriteResult,
): Promise<void> {
  const entries: Record<string, Entry> = {}
  const objects: Record<string, Description> = {}
  const description = folderDescription(folder)
  await removePartials(directory)
  if (before === undefined)
    await put(directory, { format: 1, incomplete: true, folder: description, entries: {}, objects: {} })
  const taken = new Set<string>()
  for (const [id, child] of folder.entries()) {
    const { kind, description } = planOf(child)
    if (kind === undefined) {
      setOwn(objects, id, description as Description)
      continue
    }
    const name = fileNameOf(id, kind, taken)
    const path = join(directory, name)
    result.files += 1
    if (child instanceof Folder) {
      await makeDirectory(path)
      setOwn(entries, name, { name: id })
      await writeFolder(child, path, await sidecarIn(path), options, result)
      continue
    }
    const sha256 = await writeObject(child, kind, path, knownDigest(before, name), options, result)
    setOwn(entries, name, { name: id, ...description, sha256 })
    options.wrote()
  }
  if (before !== undefined) await removeOthers(directory, before, taken, options, result)
  await put(directory, { format: 1, folder: description, entries, objects })
}

/** Writes the sidecar, unless it says that already. */
async function put(directory: string, sidecar: Sidecar): Promise<void> {
  const path = join(directory, SIDECAR)
  const text = writeSidecar(sidecar)
  if ((await readFileOf(path))?.toString('utf8') !== text) await (await write(path, [Buffer.from(text)])).keep()
}

const knownDigest = (before: Sidecar | undefined, name: string): string | undefined =>
  before !== undefined && Object.hasOwn(before.entries, name) ? before.entries[name]?.sha256 : undefined

/** Names are data: `__proto__` is one among others. */
function setOwn<T>(record: Record<string, T>, name: string, value: T): void {
  Object.defineProperty(record, name, { value, enumerable: true, configurable: true, writable: true })
}

interface Plan {
  /** Undefined for what is written into the sidecar only. */
  readonly kind: Kind | undefined
  readonly description: { readonly type: string; readonly attributes: Attributes } | undefined
}

function planOf(object: Persistent): Plan {
  if (object instanceof Folder) return { kind: 'folder', description: undefined }
  const type = typeOf(object)
  const attributes = attributesOf(object)
  const description = attributes && { type, attributes }
  const isExactly = (ctor: unknown) => object.constructor === ctor
  if (description === undefined) return { kind: 'object', description }
  if (isExactly(Template) && (object as Template).source.isWellFormed()) return { kind: 'template', description }
  if (isExactly(File)) return { kind: 'file', description }
  return type === 'MaildropHost' ? { kind: undefined, description } : { kind: 'object', description: undefined }
}

function folderDescription(folder: Folder): Description {
  const type = typeOf(folder)
  const attributes = attributesOf(folder)
  const refuse = (why: string) =>
    new ObjectError(
      'INVALID_ARGUMENT',
      `${folder.physicalPath} cannot be written as a directory: ${why}; use 'objtree export'`,
    )
  if (attributes === undefined) throw refuse('it has an attribute that is not text, number, list or the like')
  if (type !== 'Application' && entryOf(folder.constructor) !== undefined) newObject(type)
  return { type, attributes }
}

/** @returns the SHA-256 of the file */
async function writeObject(
  object: Persistent,
  kind: Kind,
  path: string,
  known: string | undefined,
  { force }: WriteOptions,
  result: WriteResult,
): Promise<string> {
  const found = await lstat(path).catch(() => undefined)
  const there = found === undefined ? undefined : await digestOf(path)
  const written = await write(path, contentOf(object, kind))
  if (written.sha256 === there) {
    await written.discard()
    return written.sha256
  }
  if (there !== undefined && there !== known && !force) {
    await written.discard()
    const why = known === undefined ? 'was not written by export-dir' : 'was edited since it was written'
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `${path} ${why}; import it first (objtree import-dir), or use --force to overwrite it`,
    )
  }
  await written.keep()
  result.written += 1
  return written.sha256
}

function contentOf(object: Persistent, kind: Kind): Source {
  if (kind === 'template') return [Buffer.from((object as Template).source)]
  return kind === 'file' ? ((object as File).read() as AsyncIterable<Uint8Array>) : exportTree(object)
}

/** Removes what an earlier call wrote, and which has no object any more. */
async function removeOthers(
  directory: string,
  before: Sidecar,
  taken: ReadonlySet<string>,
  options: WriteOptions,
  result: WriteResult,
): Promise<void> {
  for (const [name, { sha256 }] of Object.entries(before.entries)) {
    if (taken.has(folded(name)) || name.startsWith('.') || /[/\\\0]/.test(name)) continue
    const path = join(directory, name)
    const found = await lstat(path).catch(() => undefined)
    if (found?.isDirectory()) await removeFolder(path, options, result)
    else if (found?.isFile() && ((await digestOf(path)) === sha256 || options.force)) {
      await rm(path)
      result.removed.push(path)
    } else if (found !== undefined)
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `${path} was edited since it was written, and its object is gone; take it away, or use --force to remove it`,
      )
  }
}

/** A directory that holds nothing but what was written goes; files that others put into it stay. */
async function removeFolder(path: string, options: WriteOptions, result: WriteResult): Promise<void> {
  const before = await sidecarIn(path)
  if (before === undefined) return
  await removeOthers(path, before, new Set(), options, result)
  await rm(join(path, SIDECAR), { force: true })
  if ((await entriesOf(path)).length > 0) return
  await rm(path, { recursive: true })
  result.removed.push(path)
}
