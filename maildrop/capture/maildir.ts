/**
 * A Maildir (https://cr.yp.to/proto/maildir.html): written under `tmp`, synced, renamed into `new`.
 *
 * The name in `new` is made of the message's key, so a message that is delivered again, because nobody could write down
 * that it had been, takes its own place; if it has been read meanwhile, it is found under `cur`.
 */
import { randomBytes } from 'node:crypto'
import { createWriteStream, existsSync } from 'node:fs'
import { open, readdir, rename, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ensureDirectory, syncDirectory } from '../spool/sync.ts'
import type { CaptureTarget, Kept, Mailbox } from './mailbox.ts'
import { localLines } from './text.ts'

/** Milliseconds after which a file in `tmp` belongs to nobody, as the format has it. */
const ABANDONED = 36 * 3_600_000
/** Bytes written to find out whether there is room. */
const TRIAL = 4096

export function maildir({ path }: CaptureTarget): Mailbox {
  const directory = (name: 'tmp' | 'new' | 'cur'): string => join(path, name)
  const draftPath = (): string => join(directory('tmp'), `${Date.now()}.maildrop-${randomBytes(8).toString('hex')}`)

  const isThere = async ({ key }: Kept): Promise<boolean> =>
    existsSync(join(directory('new'), key)) ||
    (await readdir(directory('cur'))).some(name => name === key || name.startsWith(`${key}:`))

  return {
    async prepare() {
      for (const name of ['tmp', 'new', 'cur'] as const) ensureDirectory(directory(name))
      await removeAbandoned(directory('tmp'))
      const draft = draftPath()
      try {
        const file = await open(draft, 'wx', 0o600)
        await file.write(Buffer.alloc(TRIAL)).finally(() => file.close())
      } finally {
        await unlink(draft).catch(() => undefined)
      }
    },

    async keep(mail) {
      if (mail.repeated && (await isThere(mail))) return `it is in ${path} already`
      const draft = draftPath()
      try {
        const file = createWriteStream(draft, { flags: 'wx', mode: 0o600, flush: true })
        await pipeline(contentOf(mail), file)
        await rename(draft, join(directory('new'), mail.key))
      } catch (error) {
        await unlink(draft).catch(() => undefined)
        throw error
      }
      await syncDirectory(directory('new'))
      return join(directory('new'), mail.key)
    },
  }
}

async function* contentOf(mail: Kept): AsyncGenerator<Buffer> {
  yield Buffer.from(mail.trace)
  for await (const text of localLines(mail.open())) yield Buffer.from(text, 'latin1')
}

async function removeAbandoned(directory: string): Promise<void> {
  for (const name of await readdir(directory)) {
    if (!name.includes('.maildrop-')) continue
    const path = join(directory, name)
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED) await unlink(path).catch(() => undefined)
  }
}
