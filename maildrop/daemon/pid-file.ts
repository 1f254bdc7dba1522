/**
 * The pid file: which daemon serves this configuration.
 *
 *     1234
 *     1234_567890_<boot>_<namespace>_<host>
 *     "/etc/maildrop/config"
 *
 * The first line is for people and other programs, the second tells exactly which process is meant: a stale file or a pid
 * that belongs to another process by now is recognised, and nobody else is ever signalled. The third is the file of its configuration. A file of a process that cannot
 * be seen from here (of another machine or container) stops no start: several daemons may serve one spool, and a container
 * that died would block its successor for ever. The file is written whole and renamed into place, under a lock that is held for the moment of writing only, so of two starts one wins.
 */
import {
  closeSync,
  constants,
  linkSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { MaildropError, spoolError, systemCode } from '../errors.ts'
import {
  formatIdentity,
  isBeforeBoot,
  liveness,
  ownIdentity,
  type ProcessIdentity,
  parseIdentity,
} from '../process-identity.ts'
import { ensureDirectory } from '../spool/sync.ts'

/** What the pid file says. 'unverifiable': a process of another machine or container, or of a system without /proc. */
export type PidFileState =
  | { readonly kind: 'none' | 'stale' }
  | {
      readonly kind: 'running' | 'unverifiable'
      readonly identity: ProcessIdentity
      /** The configuration file that it runs with; undefined if it does not say so. */
      readonly config: string | undefined
    }

export function readPidFile(path: string): PidFileState {
  const text = readIfThere(path)
  if (text === undefined) return { kind: 'none' }
  const [, process = '', config = ''] = text.split('\n')
  const identity = parseIdentity(process)
  if (identity === undefined) return { kind: 'stale' }
  const alive = liveness(identity)
  if (alive === 'dead' || isBeforeBoot(identity)) return { kind: 'stale' }
  return { kind: alive === 'alive' ? 'running' : 'unverifiable', identity, config: pathIn(config) }
}

/** On one line whatever is in it. */
function pathIn(line: string): string | undefined {
  try {
    const path: unknown = JSON.parse(line)
    return typeof path === 'string' ? path : undefined
  } catch {
    return undefined
  }
}

/**
 * Enters this process as the daemon.
 * @param config the configuration file that it runs with
 * @throws {MaildropError} ALREADY_RUNNING; SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED if it cannot be written
 */
export function claimPidFile(path: string, config: string): void {
  const own = `${process.pid}\n${formatIdentity(ownIdentity())}\n${JSON.stringify(config)}\n`
  const draft = `${path}.${process.pid}`
  try {
    ensureDirectory(dirname(path))
    checkReplaceable(path)
    writeFileSync(draft, own, { mode: 0o600 })
    withLock(`${path}.lock`, draft, () => {
      const found = readPidFile(path)
      if (found.kind === 'running' || (found.kind === 'unverifiable' && mayRun(found.identity))) {
        throw new MaildropError('ALREADY_RUNNING', `already running with pid ${found.identity.pid} (${path})`, { path })
      }
      renameSync(draft, path)
    })
  } catch (error) {
    tryToRemove(draft)
    throw error instanceof MaildropError ? error : spoolError('write', path, error)
  }
}

/** What is replaced, and removed in the end, has to be a pid file, whatever somebody has configured. */
function checkReplaceable(path: string): void {
  const there = lstatSync(path, { throwIfNoEntry: false })
  const isDevice = there?.isCharacterDevice() || there?.isBlockDevice()
  if (!isDevice && (there?.size ?? 0) <= MAX_BYTES) return
  const what = isDevice ? 'a device' : `a file of ${there?.size} bytes`
  throw new MaildropError('SPOOL_FAILED', `${path} is ${what}, and no pid file; configure another path`, { path })
}

/** Longest pid file, with a path in it that is written as JSON. */
const MAX_BYTES = 32 * 1024

/**
 * Enters this process again if somebody has removed the file, as those who tidy up directories of run-time state do.
 * @returns false if another process has entered itself meanwhile
 * @throws {MaildropError} as claimPidFile
 */
export function keepPidFile(path: string, config: string): boolean {
  const found = readPidFile(path)
  if (found.kind === 'none') claimPidFile(path, config)
  return found.kind === 'none' || (found.kind === 'running' && found.identity.pid === process.pid)
}

/** Whether it names this process. */
export function isOwnPidFile(path: string): boolean {
  const found = readPidFile(path)
  return found.kind === 'running' && found.identity.pid === process.pid
}

/** Removes the pid file if it is this process's own. */
export function releasePidFile(path: string): void {
  if (isOwnPidFile(path)) removeIfThere(path)
}

/** The lock is a second name of the draft; one that a dead process left is removed. */
function withLock(lock: string, draft: string, work: () => void): void {
  const deadline = performance.now() + 5000
  for (;;) {
    try {
      linkSync(draft, lock)
      break
    } catch (error) {
      if (systemCode(error) !== 'EEXIST') throw error
      if (readPidFile(lock).kind === 'stale') removeIfThere(lock)
      else if (performance.now() > deadline) {
        throw new MaildropError(
          'ALREADY_RUNNING',
          `another start is in progress: ${lock} is held; remove it if that is not so`,
        )
      }
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)
    }
  }
  try {
    work()
  } finally {
    removeIfThere(lock)
  }
}

/** On a system without /proc a process of that pid may be the daemon, and nothing tells whether it is. */
function mayRun({ pid, boot }: ProcessIdentity): boolean {
  if (boot !== '-') return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

function readIfThere(path: string): string | undefined {
  let fd: number | undefined
  try {
    // what is no file but a pipe is not waited for
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    const buffer = Buffer.alloc(MAX_BYTES)
    return buffer.toString('utf8', 0, readSync(fd, buffer))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw spoolError('read', path, error)
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** Beside an error that says more. */
function tryToRemove(path: string): void {
  try {
    removeIfThere(path)
  } catch {
    // It is a draft, which nobody reads.
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) throw spoolError('remove', path, error)
  }
}
