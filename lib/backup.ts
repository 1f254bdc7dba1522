/**
 * Backup: a copy of the whole database, history and blobs included, made while it is in use; consistent, because it is of one state.
 *
 * The copy is a database directory like any other, under an id of its own. It has no outbox: what the rows there ask for is done
 * by the process that committed them, and a copy must not do it again. Every record, and every content of a blob, is checked as it is
 * copied: a backup that was made is whole. Later `verify` tells whether it still is.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { checkText } from './arguments.ts'
import { blobRow } from './blob.ts'
import { committedContents, contentOf } from './blob-care.ts'
import { ObjectError } from './errors.ts'
import type { Tid } from './ids.ts'
import { copyContent } from './storage/blob-store.ts'
import { whyOf } from './storage/damage.ts'
import { openDirectory } from './storage/directory.ts'
import { LevelStorage } from './storage/level-storage.ts'
import type { Storage } from './storage/storage.ts'
import { verifyRows } from './verify-blobs.ts'

export interface BackupResult {
  /** The directory of the copy, as an absolute path. */
  readonly directory: string
  /** The last transaction that is in it. */
  readonly tid: Tid
  /** How many records were copied, current and earlier. */
  readonly records: number
  readonly blobs: number
}

/**
 * @param directory must not exist, or be empty; not within the database
 * @throws {ObjectError} INVALID_ARGUMENT, DATABASE_CORRUPT, DATABASE_FAILED
 */
export async function backup(
  storage: Storage,
  directory: string,
  progress: ((done: number) => void) | undefined,
): Promise<BackupResult> {
  // of a link, where it leads
  const target = await realpath(directory).catch(() => resolve(directory))
  const problem = await unfit(target, storage.location)
  if (problem !== undefined)
    throw new ObjectError('INVALID_ARGUMENT', `${target} ${problem}; choose a directory that does not exist yet`)
  const partial = `${target}.${process.pid}-${++number}.partial`
  try {
    await removeLeft(target)
    await mkdir(partial, { recursive: true, mode: 0o700 })
    const result = await copy(storage, partial, progress)
    await rename(partial, target)
    const parent = await open(dirname(target), 'r')
    await parent.sync().finally(() => parent.close())
    return { directory: target, ...result }
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined)
    if (error instanceof ObjectError) throw error
    throw new ObjectError(
      'DATABASE_FAILED',
      `${target} could not be written: ${whyOf(error)}; nothing of the copy is left. Mend the cause (free space, permissions), then try again`,
      { cause: error },
    )
  }
}

/** Of the backups that this process makes; each has a place of its own until it is whole. */
let number = 0

/** Removes what processes that were killed left of theirs. */
async function removeLeft(target: string): Promise<void> {
  for (const name of await readdir(dirname(target)).catch(() => [])) {
    if (!name.startsWith(`${basename(target)}.`)) continue
    const [, pid] = /^\.(\d+)-\d+\.partial$/.exec(name.slice(basename(target).length)) ?? []
    if (pid !== undefined && !isAlive(Number(pid)))
      await rm(join(dirname(target), name), { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/** @returns why nothing can be copied there */
async function unfit(target: string, source: string): Promise<string | undefined> {
  if (!relative(source, target).startsWith('..')) return `is in what is to be copied, ${source}`
  const found = await stat(target).catch(() => undefined)
  if (found === undefined) return undefined
  if (!found.isDirectory()) return 'is not a directory'
  return (await readdir(target)).length > 0 ? 'is not empty' : undefined
}

async function copy(
  storage: Storage,
  directory: string,
  progress: ((done: number) => void) | undefined,
): Promise<Omit<BackupResult, 'directory'>> {
  const { level } = await openDirectory(directory, { create: true }).catch(unwritten)
  let counts: { tid: Tid; records: number }
  try {
    counts = await storage.copyTo(level, progress)
  } finally {
    await level.close()
  }
  // opened as what it is: its chain is checked, and the witness knows it
  const copied = await openStorage(directory).catch(unwritten)
  try {
    return { ...counts, blobs: await copyContents(storage, copied, directory) }
  } finally {
    await copied.close()
  }
}

/** What fails in the place of the copy has a name that nobody knows: it is passed on as what lies beneath. */
function unwritten(error: unknown): never {
  throw error instanceof ObjectError && error.code === 'DATABASE_FAILED' ? error.cause : error
}

/** Copies the contents that the copy's revisions have. @returns how many */
async function copyContents(storage: Storage, copied: Storage, directory: string): Promise<number> {
  const snapshot = copied.snapshot()
  const rows: [string, Uint8Array][] = []
  let count = 0
  let last = ''
  try {
    // those of one content come together
    for await (const { id, oid } of committedContents(storage)) {
      const content = contentOf(snapshot, oid, id)
      if (content === undefined) continue
      rows.push([blobRow(id, oid), new Uint8Array()])
      if (id === last) continue
      await copyContent(storage.blobs, content, directory)
      last = id
      count += 1
    }
  } finally {
    snapshot.release()
  }
  await copied.writeOutbox(rows, { sync: true }).catch(unwritten)
  await verifyRows(copied, (_, message) => {
    throw new ObjectError('DATABASE_CORRUPT', `${storage.location} is damaged: ${message}; restore it from a backup`)
  })
  return count
}

async function openStorage(directory: string, { untrusted = false } = {}): Promise<Storage> {
  const { level, witness } = await openDirectory(directory, { create: false, untrusted })
  return LevelStorage.open(level, directory, { create: false, witness }).catch(async error => {
    await level.close()
    witness.close()
    throw error
  })
}

/**
 * Makes a database of a backup: the same copy the other way round, so it is checked again. Before that its files are looked through, since
 * somebody may have made them up.
 * @param from the backup's directory
 * @param to must not exist, or be empty
 */
export async function restoreDatabase(from: string, to: string): Promise<BackupResult> {
  const source = resolve(checkText('restoreDatabase: from', from))
  checkText('restoreDatabase: to', to)
  // without them nothing tells LevelDB's damaged files before LevelDB reads them, and it may end the process
  for (const name of ['TABLES', 'COMMITTED'])
    if (existsSync(join(source, 'CURRENT')) && !existsSync(join(source, name)))
      throw new ObjectError(
        'DATABASE_CORRUPT',
        `${source} is no whole backup: its file ${name} is missing; take another`,
      )
  const storage = await openStorage(source, { untrusted: true })
  try {
    return await backup(storage, to, undefined)
  } finally {
    await storage.close()
  }
}
