/**
 * Making names durable.
 */
import { open } from 'node:fs/promises'
import { spoolError } from '../errors.ts'

/**
 * Fsyncs a directory: the names in it, and the renames into and out of it, survive a power cut.
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FAILED
 */
export async function syncDirectory(path: string): Promise<void> {
  try {
    const directory = await open(path, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  } catch (error) {
    throw spoolError('sync', path, error)
  }
}
