/**
 * Making names durable.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname } from 'node:path'
import { spoolError, systemCode } from '../errors.ts'

/**
 * Creates a directory (0700) and what is missing above it. Each new name is fsynced in its parent, so that a power cut
 * does not take away the directory from under files that were fsynced themselves.
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
 */
export function ensureDirectory(path: string): void {
  try {
    create(path)
  } catch (error) {
    throw spoolError('create', path, error)
  }
}

function create(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return
  const parent = dirname(path)
  if (parent !== path) create(parent)
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if (systemCode(error) === 'EEXIST' && statSync(path).isDirectory()) return
    throw error
  }
  const fd = openSync(parent, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

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
