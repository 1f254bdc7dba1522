/**
 * Reading a directory of files into the tree: the other way of write-tree.ts. It is part of the transaction, so all of it is there or nothing.
 *
 * What is in the tree already is changed where it differs, and keeps its identity and history. A file that has no entry in a sidecar is
 * a new object: `NAME.hbs` a Template, anything else a File; a directory is a Folder. Names that begin with a dot are passed over.
 */
import { lstat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { entryOf } from '../../lib/index.ts'
import { announce } from '../../objects/events.ts'
import {
  exportTree,
  File,
  Folder,
  importTree,
  ObjectError,
  type Persistent,
  Template,
  TemplateError,
} from '../../objects/index.ts'
import { newObject, typeOf } from '../types.ts'
import { setAttributes } from './attributes.ts'
import { digestOf, entriesOf, piecesOf, readFileOf } from './disk.ts'
import { idOf, type Kind, kindOf } from './names.ts'
import type { Entry, Sidecar } from './sidecar.ts'
import { sidecarIn } from './write-tree.ts'

export interface ReadOptions {
  /** Removes objects that the directory does not have. */
  readonly delete: boolean
  /** Is told of each file. */
  readonly read: () => void
}

/** What came of it, by paths in the tree. */
export class ReadResult {
  readonly added = new Set<string>()
  readonly changed = new Set<string>()
  readonly removed = new Set<string>()
  unchanged = 0

  /** Enters an object that is as the directory has it now. */
  settle(object: Persistent, changed: boolean): void {
    const path = object.physicalPath
    if (this.added.has(path) || this.changed.has(path)) return
    if (!changed) this.unchanged += 1
    else {
      this.changed.add(path)
      announce(object, 'modified', () => [{ object, path }])
    }
  }
}

/**
 * @param folder what the directory is to be; undefined if it is to be made
 * @param place where it is to be made
 * @throws {ObjectError} INVALID_ARGUMENT naming the file, and whatever setting and adding throw
 */
export async function readTree(
  directory: string,
  folder: Folder | undefined,
  place: { readonly parent: Folder; readonly id: string } | undefined,
  options: ReadOptions,
): Promise<ReadResult> {
  const result = new ReadResult()
  const sidecar = await wholeSidecar(directory)
  if (folder !== undefined) await readFolder(folder, directory, sidecar, options, result)
  else if (place !== undefined) {
    const made = place.parent.add(place.id, newFolder(sidecar, directory))
    result.added.add(made.physicalPath)
    await readFolder(made, directory, sidecar, options, result)
  }
  return result
}

/** @throws {ObjectError} INVALID_ARGUMENT if the directory was being written when that was interrupted */
async function wholeSidecar(directory: string): Promise<Sidecar | undefined> {
  const sidecar = await sidecarIn(directory)
  if (sidecar?.incomplete)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `${directory} is incomplete: the export-dir that wrote it was interrupted; run it again`,
    )
  return sidecar
}

/** The type of the root is that of a folder elsewhere. */
const folderType = (sidecar: Sidecar | undefined): string =>
  sidecar === undefined || sidecar.folder.type === 'Application' ? 'Folder' : sidecar.folder.type

function newFolder(sidecar: Sidecar | undefined, directory: string): Folder {
  const made = newObject(folderType(sidecar))
  if (made instanceof Folder) return made
  throw new ObjectError('INVALID_ARGUMENT', `${directory}: a ${typeOf(made)} is no folder`)
}

async function readFolder(
  folder: Folder,
  directory: string,
  sidecar: Sidecar | undefined,
  options: ReadOptions,
  result: ReadResult,
): Promise<void> {
  const isNew = result.added.has(folder.physicalPath)
  if (sidecar !== undefined) {
    const type = typeOf(folder)
    if (type !== 'Application' && type !== folderType(sidecar))
      throw new ObjectError(
        'WRONG_TYPE',
        `${folder.physicalPath} is a ${type}, but a ${folderType(sidecar)} in ${directory}; remove it first`,
      )
  }
  const seen = new Set<string>()
  for (const { name, isDirectory } of await entriesOf(directory)) {
    const entry = sidecar !== undefined && Object.hasOwn(sidecar.entries, name) ? sidecar.entries[name] : undefined
    const kind = isDirectory ? 'folder' : kindOf(name)
    const id = entry?.name ?? idOf(name, kind)
    if (seen.has(id)) throw new ObjectError('DUPLICATE_ID', `${join(directory, name)}: there is another '${id}'`)
    seen.add(id)
    try {
      await readEntry(folder, id, kind, join(directory, name), entry, options, result)
    } catch (error) {
      throw located(error, join(directory, name))
    }
    options.read()
  }
  for (const [id, { type, attributes }] of Object.entries(sidecar?.objects ?? {})) {
    if (seen.has(id)) throw new ObjectError('DUPLICATE_ID', `${directory}: there are two objects '${id}'`)
    seen.add(id)
    const object = objectOf(folder, id, type, result)
    result.settle(object, setAttributes(object, attributes))
  }
  if (options.delete)
    for (const [id, child] of folder.entries()) {
      if (seen.has(id)) continue
      result.removed.add(child.physicalPath)
      folder.delete(id)
    }
  // last: an order names children
  const changed = sidecar !== undefined && setAttributes(folder, sidecar.folder.attributes)
  if (!isNew) result.settle(folder, changed)
}

async function readEntry(
  folder: Folder,
  id: string,
  kind: Kind,
  path: string,
  entry: Entry | undefined,
  options: ReadOptions,
  result: ReadResult,
): Promise<void> {
  if (kind === 'folder') {
    const sidecar = await wholeSidecar(path)
    const there = folder.get(id)
    if (there instanceof Folder) return readFolder(there, path, sidecar, options, result)
    if (there !== undefined) replace(folder, id, result)
    const made = folder.add(id, newFolder(sidecar, path))
    result.added.add(made.physicalPath)
    return readFolder(made, path, sidecar, options, result)
  }
  if (kind === 'object') return readObject(folder, id, path, result)
  const object = objectOf(folder, id, kind === 'template' ? 'Template' : 'File', result)
  const isNew = result.added.has(object.physicalPath)
  const changed = object instanceof Template ? await readSource(object, path) : await readContent(object as File, path)
  if (entry?.attributes !== undefined) result.settle(object, setAttributes(object, entry.attributes) || changed)
  else {
    if (isNew && object instanceof File) object.mediaType = MEDIA_TYPES[extname(id).toLowerCase()] ?? object.mediaType
    result.settle(object, changed)
  }
}

async function readSource(template: Template, path: string): Promise<boolean> {
  const bytes = (await readFileOf(path)) ?? Buffer.alloc(0)
  let source: string
  try {
    source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new ObjectError('INVALID_ARGUMENT', 'it is not UTF-8 text', { cause })
  }
  if (source === template.source) return false
  template.source = source
  return true
}

async function readContent(file: File, path: string): Promise<boolean> {
  const { size } = await lstat(path)
  const content = Reflect.get(file, 'content') as { sha256: string } | undefined
  if (size === file.size && (size === 0 || content?.sha256 === (await digestOf(path)))) return false
  await file.write(piecesOf(path))
  return true
}

/** Anything that is neither: a file of `export`. The same bytes are the same object. */
async function readObject(folder: Folder, id: string, path: string, result: ReadResult): Promise<void> {
  const there = folder.get(id)
  const bytes = (await readFileOf(path)) ?? Buffer.alloc(0)
  if (there !== undefined) {
    if (!(there instanceof Folder) && (await exportedBytes(there)).equals(bytes)) {
      result.unchanged += 1
      return
    }
    replace(folder, id, result)
  }
  const object = await importTree(folder, id, bytes)
  if (there === undefined) result.added.add(object.physicalPath)
}

async function exportedBytes(object: Persistent): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for await (const piece of exportTree(object)) pieces.push(piece)
  return Buffer.concat(pieces)
}

/** The object of that name, made if there is none or one of another type. */
function objectOf(folder: Folder, id: string, type: string, result: ReadResult): Persistent {
  const there = folder.get(id)
  if (there !== undefined && entryOf(there.constructor)?.name === type) return there
  if (there !== undefined) replace(folder, id, result)
  const made = folder.add(id, newObject(type))
  if (there === undefined) result.added.add(made.physicalPath)
  return made
}

function replace(folder: Folder, id: string, result: ReadResult): void {
  result.changed.add((folder.get(id) as Persistent).physicalPath)
  folder.delete(id)
}

/** The file that an error is about. */
function located(error: unknown, path: string): unknown {
  if (!(error instanceof ObjectError || error instanceof TemplateError) || error.message.includes(path)) return error
  const code = error instanceof ObjectError ? error.code : 'INVALID_ARGUMENT'
  return new ObjectError(code, `${path}: ${error.message}`, { cause: error })
}

/** Of files that come without a sidecar. */
const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css',
  '.csv': 'text/csv',
  '.gif': 'image/gif',
  '.html': 'text/html',
  '.ico': 'image/vnd.microsoft.icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.pdf': 'application/pdf',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain',
  '.webp': 'image/webp',
  '.woff2': 'font/woff2',
  '.xml': 'application/xml',
  '.zip': 'application/zip',
}
