/**
 * Directory entries that somebody else may move or remove at the same time: that one is gone is an answer, not an error.
 */
import { closeSync, copyFileSync, fsyncSync, linkSync, openSync, readdirSync, renameSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { spoolError, systemCode } from '../errors.ts'

/**
 * The names in a directory, in order; none if there is no such directory.
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FAILED
 */
export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw spoolError('read', directory, error)
  }
}

/**
 * Renames a file.
 * @returns false if it, or the directory that it should go to, is gone
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
 */
export function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw spoolError('move', from, error)
  }
}

/**
 * Gives a file a second name; or makes a copy, where the file system has no links.
 * @throws the system's error: EEXIST, ENOENT …
 */
export function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to)
  } catch (error) {
    if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(systemCode(error) ?? '')) throw error
    const draft = join(dirname(to), `.${basename(to)}`)
    copyFileSync(from, draft)
    const fd = openSync(draft, 'r+')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    renameSync(draft, to)
  }
}
