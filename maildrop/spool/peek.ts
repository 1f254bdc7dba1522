/**
 * A glance at a mail file: whose it is, before it is looked at in earnest.
 */
import { closeSync, constants, openSync, readSync } from 'node:fs'

const GLANCE = Buffer.allocUnsafe(4096)

/** The sender, as the file names it at its beginning; empty if that cannot be told. Never throws, and follows no link. */
export function peekSender(path: string): string {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return ''
  }
  try {
    const count = readSync(fd, GLANCE, 0, GLANCE.length, 0)
    return /^##from:[ \t]*([^\r\n]*)/im.exec(GLANCE.toString('latin1', 0, count))?.[1] ?? ''
  } catch {
    return ''
  } finally {
    closeSync(fd)
  }
}
