/**
 * Directory entries that somebody else may move or remove at the same time: that one is gone is an answer, not an error.
 */
import { readdirSync, renameSync } from 'node:fs'
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
