/**
 * Looks at a file of the spool and says whether it is mail that may be sent now. Looks only: nothing is moved.
 *
 * A file is read through one descriptor, opened without following links, and what was read is what is sent; so it does
 * not matter what happens to its name meanwhile. Calls are synchronous: they touch one small file on a local disk,
 * where a trip through the thread pool costs several times the work itself.
 */
import { accessSync, closeSync, constants, existsSync, fstatSync, openSync, readSync } from 'node:fs'
import { systemCode } from '../errors.ts'
import { type Envelope, MAX_ENVELOPE_BYTES, parseMailHead } from './format.ts'

/** A complete mail file, open for reading; whoever gets it has to close it. */
export interface ReadyMail {
  readonly fd: number
  readonly inode: number
  /** The user and the group that it belongs to, and the number of its names. */
  readonly owner: number
  readonly group: number
  readonly links: number
  /** When it came to be where it is, in milliseconds since 1970: a rename counts, an old time stamp does not. */
  readonly written: number
  /** Size of the file in bytes. */
  readonly size: number
  /** The file's beginning, at most MAX_ENVELOPE_BYTES. */
  readonly bytes: Buffer
  /** Where the message begins, in bytes from the start of the file. */
  readonly start: number
  readonly id: string | undefined
  readonly envelope: Envelope
  /** When it may be sent, in milliseconds since 1970. */
  readonly notBefore: number | undefined
}

export type Inspection =
  | { readonly kind: 'ready'; readonly mail: ReadyMail }
  /** There is no such file (any more). */
  | { readonly kind: 'nothing' }
  /** A `.lck` file stands beside it. */
  | { readonly kind: 'locked' }
  /** It may still be written: send it (or give it up, if `problem` says why) when `mark` has not changed for a while. */
  | { readonly kind: 'unsettled'; readonly inode: number; readonly mark: string; readonly problem: string | undefined }
  /** It cannot become mail. */
  | { readonly kind: 'unfit'; readonly problem: string }
  /** It cannot become mail, and cannot be moved. */
  | { readonly kind: 'stuck'; readonly problem: string }

/**
 * @param settled true if the caller has seen the file unchanged for long enough
 * @throws the system's error if the file cannot be looked at for a reason that has nothing to do with it (EMFILE, EIO, a directory that is closed)
 */
export function inspect(directory: string, name: string, settled: boolean): Inspection {
  const path = `${directory}/${name}`
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    return unopened(error, directory)
  }
  let keep = false
  try {
    const { ino, uid, gid, nlink, size, mtimeMs, ctimeMs, isFile, isDirectory } = statOf(fd)
    if (isDirectory) return lookAtDirectory(path, `${ino}:${mtimeMs}`)
    if (!isFile) return { kind: 'unfit', problem: 'it is not a regular file' }
    if (existsSync(`${path}.lck`)) return { kind: 'locked' }
    const bytes = readStart(fd, size)
    const head = parseMailHead(bytes, size)
    const unsettled = { kind: 'unsettled', inode: ino, mark: `${ino}:${size}:${mtimeMs}` } as const
    if (head.kind === 'malformed')
      return settled ? { kind: 'unfit', problem: head.problem } : { ...unsettled, problem: undefined }
    if (head.kind === 'incomplete') return { ...unsettled, problem: head.problem }
    if (!head.measured && !settled) return { ...unsettled, problem: undefined }
    keep = true
    const { id, envelope, start, notBefore } = head
    return {
      kind: 'ready',
      mail: {
        fd,
        inode: ino,
        owner: uid,
        group: gid,
        links: nlink,
        written: ctimeMs,
        size,
        bytes,
        start,
        id,
        envelope,
        notBefore,
      },
    }
  } finally {
    if (!keep) closeSync(fd)
  }
}

/** A program may just be filling it, and would find it gone; to move it, one has to be allowed to write to it. */
function lookAtDirectory(path: string, mark: string): Inspection {
  try {
    accessSync(path, constants.W_OK)
  } catch {
    return {
      kind: 'stuck',
      problem: `${path} is a directory, not mail, and may not be moved by the user the daemon runs as`,
    }
  }
  return { kind: 'unsettled', inode: 0, mark, problem: 'it is a directory, and mail is a file' }
}

function unopened(error: unknown, directory: string): Inspection {
  switch (systemCode(error)) {
    case 'ENOENT':
      return { kind: 'nothing' }
    case 'ELOOP':
      return { kind: 'unfit', problem: 'it is a symbolic link' }
    case 'ENXIO':
      return { kind: 'unfit', problem: 'it is not a regular file' }
    case 'EACCES':
      // Throws if it is the directory that cannot be searched.
      accessSync(directory, constants.X_OK)
      return {
        kind: 'unsettled',
        inode: 0,
        mark: 'unreadable',
        problem: 'it may not be read by the user the daemon runs as',
      }
    default:
      throw error
  }
}

function statOf(fd: number) {
  const stat = fstatSync(fd)
  const { ino, uid, gid, nlink, size, mtimeMs, ctimeMs } = stat
  return { ino, uid, gid, nlink, size, mtimeMs, ctimeMs, isFile: stat.isFile(), isDirectory: stat.isDirectory() }
}

/** Reads the beginning of a file; shorter if the file is being cut meanwhile, which the parser then sees. */
function readStart(fd: number, size: number): Buffer {
  const bytes = Buffer.allocUnsafe(Math.min(size, MAX_ENVELOPE_BYTES))
  let at = 0
  while (at < bytes.length) {
    const count = readSync(fd, bytes, at, bytes.length - at, at)
    if (count === 0) break
    at += count
  }
  return bytes.subarray(0, at)
}
