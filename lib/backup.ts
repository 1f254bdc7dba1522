/**
 * Backup: a copy of the whole database, history and blobs included, made while it is in use; consistent, because it is of one state.
 *
 * The copy is a database directory like any other, under an id of its own. It has no outbox: what the rows there ask for is done
 * by the process that committed them, and a copy must not do it again. Every record is checked as it is copied; the contents of blobs are checked when they are read.
 */
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { blobRow } from './blob.ts'
import { committedContents } from './blob-care.ts'
import { messageOf, ObjectError } from './errors.ts'
import type { Tid } from './persistent.ts'
import { openDirectory } from './storage/directory.ts'
import { outboxKey } from './storage/keys.ts'
import { type Operation, writeBatch } from './storage/level.ts'
import { LevelStorage } from './storage/level-storage.ts'
import type { Storage } from './storage/storage.ts'

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
 * @param directory must not exist, or be empty
 * @throws {ObjectError} INVALID_ARGUMENT, DATABASE_CORRUPT, DATABASE_FAILED
 */
export async function backup(
  storage: Storage,
  directory: string,
  progress: ((done: number) => void) | undefined,
): Promise<BackupResult> {
  const target = resolve(directory)
  if (existsSync(target) && (await readdir(target)).length > 0)
    throw new ObjectError('INVALID_ARGUMENT', `${target} is not empty; choose a directory that does not exist yet`)
  const partial = `${target}.partial`
  try {
    await rm(partial, { recursive: true, force: true })
    await mkdir(partial, { recursive: true, mode: 0o700 })
    const result = await copy(storage, partial, progress)
    await rm(target, { recursive: true, force: true })
    await rename(partial, target)
    const parent = await open(dirname(target), 'r')
    await parent.sync().finally(() => parent.close())
    return { directory: target, ...result }
  } catch (error) {
    await rm(partial, { recursive: true, force: true }).catch(() => undefined)
    if (error instanceof ObjectError) throw error
    throw new ObjectError('DATABASE_FAILED', `the backup to ${target} failed: ${messageOf(error)}`, { cause: error })
  }
}

async function copy(
  storage: Storage,
  directory: string,
  progress: ((done: number) => void) | undefined,
): Promise<Omit<BackupResult, 'directory'>> {
  const { level } = await openDirectory(directory, { create: true })
  let counts: { tid: Tid; records: number }
  const contents = new Set<string>()
  try {
    counts = await storage.copyTo(level, progress)
    const rows: Operation[] = []
    for await (const { id, oid } of committedContents(storage)) {
      contents.add(id)
      rows.push([outboxKey(blobRow(id, oid)), Buffer.alloc(0)])
    }
    await writeBatch(level, rows, { sync: true })
  } finally {
    await level.close()
  }
  await storage.blobs.copyTo(directory, [...contents])
  // opened once as what it is: its chain is checked, and the witness knows it
  const { level: again, witness } = await openDirectory(directory, { create: false })
  const copied = await LevelStorage.open(again, directory, { create: false, witness })
  await copied.close()
  return { ...counts, blobs: contents.size }
}

/**
 * Makes a database of a backup: the same copy the other way round, so it is checked again.
 * @param from the backup's directory
 * @param to must not exist, or be empty
 */
export async function restoreDatabase(from: string, to: string): Promise<BackupResult> {
  const { level, witness } = await openDirectory(resolve(from), { create: false })
  const storage = await LevelStorage.open(level, resolve(from), { create: false, witness }).catch(async error => {
    await level.close()
    witness.close()
    throw error
  })
  try {
    return await backup(storage, to, undefined)
  } finally {
    await storage.close()
  }
}
