/**
 * Whether a file is still held open for writing, as far as /proc tells: about the processes of the same user, or all for root.
 *
 * "It has not grown for a while" alone would send half of what a slow program writes. Links under /proc are read and never
 * followed, so a file on a server that does not answer holds nothing up. Without /proc nothing is known to be written.
 */
import { lstatSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { basename } from 'node:path'

const WRITABLE = 0o200

/**
 * @param names names of files, wherever they are
 * @returns the inodes of files of these names that some other process can write to
 */
export function inodesBeingWritten(names: ReadonlySet<string>): Set<number> {
  const found = new Set<number>()
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue
    for (const fd of list(`/proc/${pid}/fd`)) {
      const inode = writtenThrough(`/proc/${pid}/fd/${fd}`, names)
      if (inode !== undefined) found.add(inode)
    }
  }
  return found
}

function writtenThrough(link: string, names: ReadonlySet<string>): number | undefined {
  try {
    if (!names.has(basename(readlinkSync(link))) || (lstatSync(link).mode & WRITABLE) === 0) return undefined
    return statSync(link).ino
  } catch {
    return undefined
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
