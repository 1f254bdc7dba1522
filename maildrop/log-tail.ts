/**
 * Reading the log from its end: never more than asked for, whole lines only.
 */
import { constants } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { spoolError, systemCode } from './errors.ts'

/** Milliseconds between two looks at a log that is followed. */
const POLL = 200
const CHUNK = 64 * 1024

/**
 * The last lines of the log.
 * @param bytes most bytes to return; a line that does not fit in whole is left out
 * @returns empty if there is no log yet
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FAILED
 */
export async function readLogTail(file: string, bytes: number): Promise<string> {
  const log = await openIfThere(file)
  if (log === undefined) return ''
  try {
    return (await tailOf(log, bytes)).text
  } finally {
    await log.close()
  }
}

/**
 * Passes on the last lines of the log and then what is added, over rotation (rename, copy and truncate, deletion).
 * @returns when `signal` says so
 */
export async function followLog(
  file: string,
  bytes: number,
  write: (text: string | Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  let log = await openIfThere(file)
  let at = 0
  try {
    if (log !== undefined) {
      const tail = await tailOf(log, bytes)
      write(tail.text)
      at = tail.end
    }
    while (!signal.aborted) {
      await sleep(POLL, undefined, { signal }).catch(() => undefined)
      const replaced = log === undefined || (await isReplaced(log, file))
      if (log !== undefined) at = await passOn(log, at, write)
      if (!replaced) continue
      const next = await openIfThere(file)
      if (next === undefined) continue
      await log?.close()
      log = next
      at = await passOn(log, 0, write)
    }
  } finally {
    await log?.close()
  }
}

async function tailOf(log: FileHandle, bytes: number): Promise<{ readonly text: string; readonly end: number }> {
  const { size } = await log.stat()
  const start = Math.max(0, size - bytes)
  // One byte more tells whether the part begins with a line.
  const from = Math.max(0, start - 1)
  const buffer = Buffer.alloc(size - from)
  const { bytesRead } = await log.read(buffer, 0, buffer.length, from)
  const read = buffer.subarray(0, bytesRead)
  const first = start === 0 ? 0 : read.indexOf('\n') + 1
  const last = read.lastIndexOf('\n') + 1
  const text = start > 0 && first === 0 ? '' : read.toString('utf8', first, Math.max(first, last))
  return { text, end: from + Math.max(first, last) }
}

/** @returns the position up to which everything has been passed on */
async function passOn(log: FileHandle, from: number, write: (text: Buffer) => void): Promise<number> {
  let at = (await log.stat()).size < from ? 0 : from
  const buffer = Buffer.alloc(CHUNK)
  for (;;) {
    const { bytesRead } = await log.read(buffer, 0, CHUNK, at)
    if (bytesRead === 0) return at
    write(Buffer.from(buffer.subarray(0, bytesRead)))
    at += bytesRead
  }
}

async function isReplaced(log: FileHandle, file: string): Promise<boolean> {
  const [own, named] = await Promise.all([log.stat(), stat(file).catch(() => undefined)])
  return named !== undefined && (named.ino !== own.ino || named.dev !== own.dev)
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  let log: FileHandle
  try {
    log = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw spoolError('read', file, error)
  }
  const stat = await log.stat()
  if (stat.isFile()) return log
  await log.close()
  // A pipe or a device keeps no lines.
  if (!stat.isDirectory()) return undefined
  throw spoolError('read', file, Object.assign(new Error('a directory'), { code: 'EISDIR' }))
}
