/**
 * An mbox: one file, messages one behind the other, each begun by a line `From sender date`. Lines in messages that look like it
 * are quoted (mboxrd, which can be undone).
 *
 * A message is appended under the lock and cut off again if not all of it can be written. One that may be there already is
 * looked for by the key in its header.
 */
import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { notRegular } from '../small-file.ts'
import { ensureDirectory, syncDirectory } from '../spool/sync.ts'
import { daemonStep } from '../steps.ts'
import { lockMbox } from './dot-lock.ts'
import type { CaptureTarget, Kept, Mailbox } from './mailbox.ts'
import { localLines, quoteFrom } from './text.ts'

/** Milliseconds that another program may keep the mbox locked. */
const PATIENCE = 30_000
const CHUNK = 64 * 1024

export function mbox({ path }: CaptureTarget): Mailbox {
  return {
    async prepare() {
      ensureDirectory(dirname(path))
      const file = await openBox(path, constants.O_CREAT)
      await file.close()
      await syncDirectory(dirname(path))
      const draft = await nameless(path)
      await draft.write(Buffer.alloc(CHUNK)).finally(() => draft.close())
    },

    async keep(mail) {
      const lock = await lockMbox(path, PATIENCE)
      try {
        const file = await openBox(path)
        try {
          if (mail.repeated && (await contains(file, `\n${keyHeader(mail.key)}\n`))) return `it is in ${path} already`
          const draft = await nameless(path)
          try {
            await write(mail, draft)
            await append(mail, draft, file, lock.announce)
          } finally {
            await draft.close()
          }
        } finally {
          await file.close()
        }
      } finally {
        await lock.release()
      }
      return path
    },
  }
}

/** What is no file is neither waited for nor given mail. */
async function openBox(path: string, flags = 0): Promise<FileHandle> {
  const file = await open(path, constants.O_RDWR | constants.O_NONBLOCK | flags, 0o600)
  const kind = notRegular(await file.stat())
  if (kind === undefined) return file
  await file.close()
  throw new Error(`it is ${kind}, where a file is needed`)
}

/** A file that nothing is left of when the process dies, on the file system of the mbox. */
async function nameless(path: string): Promise<FileHandle> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(draft, 'wx+', 0o600)
  await unlink(draft)
  return file
}

function keyHeader(key: string): string {
  return `X-Maildrop-Key: ${key}`
}

/** Writes a message with all that belongs to it in an mbox. */
async function write(mail: Kept, draft: FileHandle): Promise<void> {
  const sender = mail.envelope.from.replace(/\s/g, '-') || 'MAILER-DAEMON'
  await draft.write(`From ${sender} ${asctime(new Date())}\n${keyHeader(mail.key)}\n${mail.trace}`)
  let last = ''
  for await (const text of quoteFrom(localLines(mail.open()))) {
    await draft.write(Buffer.from(text, 'latin1'))
    last = text.at(-1) ?? last
  }
  await draft.write(last === '\n' ? '\n' : '\n\n')
}

/** `Thu Nov 24 18:22:48 2026`, in UTC. */
function asctime(date: Date): string {
  const [day, number, month, year, time] = date.toUTCString().replace(',', '').split(' ')
  return `${day} ${month} ${String(Number(number)).padStart(2)} ${time} ${year}`
}

async function append(
  { key }: Kept,
  draft: FileHandle,
  file: FileHandle,
  announce: (start: number, length: number) => Promise<void>,
): Promise<void> {
  const { size: start } = await file.stat()
  const gap = await separator(file, start)
  const { size: length } = await draft.stat()
  await announce(start, gap.length + length)
  try {
    await writeAll(file, gap, start)
    const buffer = Buffer.allocUnsafe(CHUNK)
    for (let at = 0; at < length; ) {
      const { bytesRead } = await draft.read(buffer, 0, CHUNK, at)
      if (bytesRead === 0) throw new Error('the draft became shorter')
      await writeAll(file, buffer.subarray(0, bytesRead), start + gap.length + at)
      daemonStep('appending', key)
      at += bytesRead
    }
    await file.sync()
  } catch (error) {
    await file.truncate(start)
    throw error
  }
}

/** A write may write a part only: on a disk that is nearly full, for one. */
async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, at + done)).bytesWritten
  }
}

/** What another program has left open is ended first. */
async function separator(file: FileHandle, size: number): Promise<Buffer> {
  const end = Buffer.alloc(2)
  if (size > 0) await file.read(end, size > 1 ? 0 : 1, Math.min(2, size), Math.max(0, size - 2))
  if (size === 0 || end.toString('latin1') === '\n\n') return Buffer.alloc(0)
  return Buffer.from(end[1] === 0x0a ? '\n' : '\n\n')
}

async function contains(file: FileHandle, text: string): Promise<boolean> {
  const wanted = Buffer.from(text)
  const buffer = Buffer.allocUnsafe(CHUNK)
  for (let at = 0; ; at += CHUNK - wanted.length) {
    const { bytesRead } = await file.read(buffer, 0, CHUNK, at)
    if (buffer.subarray(0, bytesRead).includes(wanted)) return true
    if (bytesRead < CHUNK) return false
  }
}
