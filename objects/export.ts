/**
 * Moving parts of the tree between places and databases by file. The format is specified in lib/transfer.ts.
 *
 * An export is what the transaction sees. An import is part of the transaction: all of it is there, or nothing. So its objects are in memory
 * until the commit, about 3.5 KiB for each at its peak (200,000 of 350 bytes: 0.7 GiB); contents of blobs are not. Larger trees go in parts.
 */
import {
  checkOptions,
  type ExportProgress,
  type ExportSource,
  ObjectError,
  type Persistent,
  readExport,
  type Staged,
  writeExport,
} from '../lib/index.ts'
import { connectionOf } from './events.ts'
import { checkFolder, Folder } from './folder.ts'
import { checkId } from './names.ts'

/**
 * The bytes of an export file with `object` and everything in it, in pieces. Its place in the tree is left out.
 * @param options.progress is told before each piece how many bytes there were, and about how many there will be
 * @throws {ObjectError} (at the first piece) INVALID_REFERENCE naming the references that lead out of it; DATABASE_CORRUPT for a damaged blob
 */
export function exportTree(
  object: Persistent,
  options: { readonly progress?: (state: ExportProgress) => void } = {},
): AsyncIterable<Uint8Array> {
  return writeExport(object, checkOptions('exportTree', options).progress)
}

/**
 * Puts what an export file holds into a folder, as new objects. The file is read to its end and checked before anything changes; a file that
 * is damaged, incomplete or made up is refused whole.
 *
 * @param source a stream, an iterable of pieces, or the whole file
 * @returns the object at the top
 * @throws {ObjectError} INVALID_ARGUMENT for the file; UNKNOWN_CLASS if newer code wrote it; INVALID_ID, DUPLICATE_ID; NOT_CONNECTED if the
 *   folder is in no database
 */
export async function importTree(folder: Folder, id: string, source: ExportSource): Promise<Persistent> {
  checkId(id)
  checkFolder('importTree', folder)
  const connection = connectionOf(folder)
  if (connection === undefined)
    throw new ObjectError('NOT_CONNECTED', `'${id}' cannot be imported: the folder is in no database yet; add it first`)
  const staged = await readExport(source, connection.blobs)
  try {
    checkFolders(staged)
    folder.add(id, staged.top)
    staged.settle(connection)
  } catch (error) {
    await staged.discard()
    throw error
  }
  return staged.top
}

/** Folders and what is in them agree, and names are names. */
function checkFolders({ objects }: Staged): void {
  for (const [i, object] of objects.entries()) {
    if (!(object instanceof Folder)) continue
    try {
      const entries = object.entries()
      if (entries.length !== object.size) throw new Error(`it has ${entries.length} children and counts ${object.size}`)
      for (const [id, child] of entries) {
        checkId(id)
        if (child.__parent__ !== object || child.__name__ !== id) throw new Error(`its child '${id}' does not know it`)
        if (object.get(id) !== child) throw new Error(`its child '${id}' is not found by name`)
      }
    } catch (cause) {
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `the export cannot be read: object ${i + 1} is no sound folder: ${(cause as Error).message}; nothing was imported`,
        { cause },
      )
    }
  }
}
