/**
 * The writing side of the spool: what an application needs to hand over mail, durably and in two steps.
 *
 * A message is *held* first (`.held/<id>`, invisible to every daemon) and *released* by a rename, so no daemon ever
 * sees half of one. Each step is made durable separately, which lets a caller share the directory syncs of many messages:
 *
 *     writeHeld × n → syncHeld → (the decision) → releaseHeld × n → syncSpool
 *
 * Errors are MaildropErrors that name the path: SPOOL_FULL, SPOOL_DENIED, SPOOL_FAILED. A failed `writeHeld` leaves
 * nothing behind, and every step may be repeated.
 */
import { closeSync, existsSync, fsync, open, rename, write } from 'node:fs'
import { readdir, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { spoolError, systemCode } from '../errors.ts'
import { spoolStep } from '../steps.ts'
import { checkMailId } from './id.ts'
import { ensureSpool, heldDir } from './layout.ts'
import { syncDirectory } from './sync.ts'

/**
 * Writes and fsyncs the held file of a mail, replacing one that an interrupted call left behind.
 * @param bytes a mail file, as `formatMailFile` makes it
 * @throws {MaildropError} INVALID_MAIL_ID, SPOOL_FULL, SPOOL_DENIED, SPOOL_FAILED
 */
export async function writeHeld(spool: string, id: string, bytes: Uint8Array): Promise<void> {
  const path = heldPath(spool, id)
  let file: number | undefined
  try {
    file = await createHeld(spool, path)
    try {
      for (let at = 0; at < bytes.length; ) at += (await writeTo(file, bytes, at)).bytesWritten
      await syncFile(file)
    } finally {
      closeSync(file)
    }
  } catch (error) {
    if (file !== undefined) await unlink(path).catch(() => undefined)
    throw spoolError('write', path, error)
  }
  spoolStep('held-written', id)
}

/** Makes the names of all held files durable. */
export async function syncHeld(spool: string): Promise<void> {
  await syncDirectory(heldDir(spool))
  spoolStep('held-synced', '')
}

/**
 * Publishes a held mail: from now on a daemon may deliver it.
 * @returns false if there is no such held file, which means that it has been published before
 */
export async function releaseHeld(spool: string, id: string): Promise<boolean> {
  const path = heldPath(spool, id)
  try {
    await renameFile(path, join(spool, id))
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw spoolError('publish', path, error)
    await stat(heldDir(spool)).catch(missing => {
      throw spoolError('publish', path, missing)
    })
    return false
  }
  spoolStep('released', id)
  return true
}

/** Makes the publication of released mail durable. */
export async function syncSpool(spool: string): Promise<void> {
  await syncDirectory(spool)
  spoolStep('spool-synced', '')
}

/** Removes a held mail that is not going to be published. Without one, nothing happens. */
export async function discardHeld(spool: string, id: string): Promise<void> {
  const path = heldPath(spool, id)
  try {
    await unlink(path)
  } catch (error) {
    // Of a file system that cannot be written one learns only so that there is none.
    if (systemCode(error) === 'ENOENT' || (systemCode(error) === 'EROFS' && !existsSync(path))) return
    throw spoolError('remove', path, error)
  }
  spoolStep('held-discarded', id)
}

/** The ids of all held mail, sorted; none if there is no spool yet. */
export async function listHeld(spool: string): Promise<string[]> {
  try {
    return (await readdir(heldDir(spool))).sort()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw spoolError('read', heldDir(spool), error)
  }
}

/** Publishes one mail, durably, in one go. Once the promise resolves, a power cut does not undo it. */
export async function submit(spool: string, id: string, bytes: Uint8Array): Promise<void> {
  await writeHeld(spool, id, bytes)
  await syncHeld(spool)
  await releaseHeld(spool, id)
  await syncSpool(spool)
}

function heldPath(spool: string, id: string): string {
  checkMailId(id)
  return join(heldDir(spool), id)
}

async function createHeld(spool: string, path: string): Promise<number> {
  try {
    return await openFile(path, 'w', 0o600)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error
    await ensureSpool(spool)
    return await openFile(path, 'w', 0o600)
  }
}

// What is done for each mail costs half of what it does with node:fs/promises.
const openFile = promisify(open)
const writeTo = promisify(write)
const syncFile = promisify(fsync)
const renameFile = promisify(rename)
