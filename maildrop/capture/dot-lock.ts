/**
 * The lock of an mbox: the file `<mbox>.lock`, which mail programs of all kinds respect, made by a link so that it is
 * never seen half made.
 *
 * Its first line says who holds it, its second one what is being appended, from where and how many bytes: should the holder die
 * in the middle, the next one cuts off what is there of it. A lock of somebody who cannot be seen is waited for, never broken.
 */
import { randomBytes } from 'node:crypto'
import { link, open, readFile, rename, truncate, unlink, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemCode } from '../errors.ts'
import { formatIdentity, isBeforeBoot, liveness, ownIdentity, parseIdentity } from '../process-identity.ts'

export interface DotLock {
  /** Writes down, durably, what is going to be appended. */
  announce(start: number, length: number): Promise<void>
  release(): Promise<void>
}

/**
 * Takes the lock of an mbox, and makes good what a holder that died has left.
 * @param patience milliseconds that another holder gets
 * @throws Error that names the lock file, and who holds it
 */
export async function lockMbox(mbox: string, patience: number): Promise<DotLock> {
  const path = `${mbox}.lock`
  const mine = `${formatIdentity(ownIdentity())}\n`
  const deadline = performance.now() + patience
  while (!(await taken(path, mine))) {
    const content = await readFile(path, 'utf8').catch(() => '')
    if (isDead(content)) await breakLock(mbox, path, content)
    else if (performance.now() < deadline) await sleep(10 + Math.random() * 20)
    else throw new Error(`${path} is held by ${holderOf(content)}; if nobody uses ${mbox}, remove it`)
  }
  return {
    async announce(start, length) {
      const file = await open(path, 'r+')
      try {
        await file.write(`${mine}${start} ${length}\n`, 0)
        await file.sync()
      } finally {
        await file.close()
      }
    },
    release: () => unlink(path),
  }
}

async function taken(path: string, content: string): Promise<boolean> {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await writeFile(draft, content, { flag: 'wx', mode: 0o600 })
    await link(draft, path)
    return true
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false
    throw error
  } finally {
    await unlink(draft).catch(() => undefined)
  }
}

/** A holder on this machine, before it was started again, is dead too. */
function isDead(content: string): boolean {
  const identity = parseIdentity(content.split('\n')[0] ?? '')
  if (identity === undefined) return false
  return liveness(identity) === 'dead' || (identity.boot !== '-' && isBeforeBoot(identity))
}

/** Of several that break the same lock, one renames it; if that was a newer lock, it is put back. */
async function breakLock(mbox: string, path: string, content: string): Promise<void> {
  const aside = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw error
  }
  if ((await readFile(aside, 'utf8')) === content) await cutOff(mbox, content)
  else await link(aside, path).catch(() => undefined)
  await unlink(aside)
}

/** Cuts off a message that was appended in part; one that is whole stays, and so does what others have appended behind it. */
async function cutOff(mbox: string, content: string): Promise<void> {
  const [, start, length] = /\n(\d+) (\d+)\n$/.exec(content) ?? []
  if (start === undefined || length === undefined) return
  const file = await open(mbox, 'r+').catch(() => undefined)
  if (file === undefined) return
  const { size } = await file.stat().finally(() => file.close())
  if (size > Number(start) && size < Number(start) + Number(length)) await truncate(mbox, Number(start))
}

function holderOf(content: string): string {
  const identity = parseIdentity(content.split('\n')[0] ?? '')
  return identity === undefined ? 'another program' : `pid ${identity.pid} on ${identity.host}`
}
