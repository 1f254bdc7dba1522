/**
 * Reading a file that somebody has named: a configuration, a password, a key. It is read whole, so it has to be small; and what is no
 * file (a pipe, a directory, a device without an end) is an error at once, and never waited for.
 */
import { closeSync, constants, fstatSync, openSync, readSync, type Stats } from 'node:fs'
import { messageOf, systemCode } from './errors.ts'

/** Most bytes of a password or a key, and of a configuration or a list of certificates. */
export const SMALL = 64 * 1024
export const LARGE = 4 * 1024 * 1024

/**
 * @param most bytes that it may have
 * @throws Error whose message goes on after the name of the file: the system's code, or what it is instead
 */
export function readSmallFile(path: string, most: number): string {
  let fd: number | undefined
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const kind = kindOf(fstatSync(fd))
    if (kind !== undefined) throw new Error(`it is ${kind}, where a file is needed`)
    return textOf(fd, most)
  } catch (error) {
    throw new Error(systemCode(error) ?? messageOf(error), { cause: error })
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** What it is, if it is no file; a device such as /dev/null is read like one. */
export function kindOf(stat: Stats): string | undefined {
  if (stat.isDirectory()) return 'a directory'
  if (stat.isFIFO()) return 'a pipe'
  if (stat.isSocket()) return 'a socket'
  return undefined
}

/** What it is instead of a file that can be written, made again or removed. */
export function notRegular(stat: Stats): string | undefined {
  return stat.isFile() ? undefined : (kindOf(stat) ?? 'a device')
}

/** Its length is what is read: that of a device is not known before. */
function textOf(fd: number, most: number): string {
  const pieces: Buffer[] = []
  for (let size = 0; size <= most; ) {
    const piece = Buffer.alloc(SMALL)
    const count = readSync(fd, piece, 0, SMALL, null)
    if (count === 0) return Buffer.concat(pieces).toString('utf8')
    pieces.push(piece.subarray(0, count))
    size += count
  }
  throw new Error(`it has more than ${most} bytes`)
}
