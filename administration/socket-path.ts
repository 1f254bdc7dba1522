/**
 * Where the process that has a database open can be reached: the Unix socket `objtree.sock` in the database's directory.
 *
 * The path of a Unix socket has at most 107 bytes. A longer one is reached through a handle of its directory, under Linux's /proc.
 */
import { closeSync, constants, existsSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { ObjectError } from '../objects/index.ts'

export const SOCKET = 'objtree.sock'

/** Bytes that a path may have; other systems allow a few less than Linux. */
const MAX_PATH = 100

export interface ShortPath {
  /** Valid until it is released. */
  readonly path: string
  release(): void
}

/** @throws {ObjectError} INVALID_ARGUMENT if the path is too long where there is no /proc; the system's error */
export function shortPath(directory: string, name: string): ShortPath {
  const path = join(directory, name)
  if (Buffer.byteLength(path) <= MAX_PATH) return { path, release: () => undefined }
  if (!existsSync('/proc/self/fd'))
    throw new ObjectError('INVALID_ARGUMENT', `${path} is too long for a socket: at most ${MAX_PATH} bytes`)
  const handle = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY)
  return { path: `/proc/self/fd/${handle}/${name}`, release: () => closeSync(handle) }
}
