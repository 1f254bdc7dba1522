/**
 * How a database goes on by itself after a write that failed (writer.ts says why LevelDB has to be opened again for that).
 *
 *      sound ── a write fails ──▶ failed ── there is room ──▶ opening ──▶ sound
 *        ▲                          ▲ every second              │ ▲
 *        └──────────────────────────┘                           ▼ │ every second
 *                                                              shut
 *
 *   failed    Reading goes on, from the LevelDB that is open; what is to be written fails at once (DATABASE_FAILED). Whether there is room to open
 *             LevelDB again, which writes its log to tables, is looked at before it is closed.
 *   opening   Nothing is being written, no pack is under way, what is to be committed waits. What is read now, or was being iterated over, fails with
 *             READ_CONFLICT; all checks of an ordinary opening are made. Views of before go on, unless they need what a pack has removed since.
 *             What was in doubt has an outcome now.
 *   shut      It could not be opened: all fails (DATABASE_FAILED). If another process has had it open, or it is damaged, it stays so.
 */
import { open, readdir, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { ObjectError } from '../errors.ts'
import { cannotReopen, failedBefore, openedAgain, whyOf } from './damage.ts'
import type { Again } from './directory.ts'
import type { Level } from './level.ts'
import type { Witness } from './witness.ts'

/** Milliseconds between attempts, */
const PAUSE = 1000
/** and before the first, if it has gone well for so long. */
const FIRST = 100
const LONG = 10_000
/** Bytes that opening needs beside those of the log. */
const ROOM = 1024 * 1024
/** Bytes that are written to see whether anything can be. */
const TRIAL = 64 * 1024

export interface ReopeningHost {
  readonly level: Level
  readonly location: string
  /** Does something while nothing is being written, and nothing is accepted. */
  atRest(work: () => Promise<void>): Promise<void>
  /** LevelDB was closed. */
  closed(): void
  /** LevelDB is open again: looks at what is there, and goes on from that. @throws {ObjectError} what an ordinary opening throws */
  opened(witness: Witness): Promise<void>
}

export class Reopening {
  /** While it is being opened again: until that has ended, well or not. */
  running: Promise<void> | undefined
  /** How often LevelDB was closed. */
  times = 0
  /** Why nothing can be read now, if so. */
  private refusal: (() => ObjectError) | undefined
  private readonly again: Again
  private readonly host: ReopeningHost
  private timer: NodeJS.Timeout | undefined
  private ended = false
  /** When it was opened again last. */
  private openedAt = Number.NEGATIVE_INFINITY
  /** Of the failed write. */
  private cause: unknown
  /** The last warning. */
  private said = ''

  constructor(again: Again, host: ReopeningHost) {
    this.again = again
    this.host = host
  }

  /** A write has failed. */
  failed(cause: unknown): void {
    this.cause = cause
    this.later(performance.now() - this.openedAt < LONG ? PAUSE : FIRST)
  }

  /** What is there has been looked at. */
  readable(): void {
    this.refusal = undefined
  }

  /** Lets go of the directory; LevelDB is closed. */
  leave(): void {
    this.again.leave()
  }

  /** @throws {ObjectError} READ_CONFLICT, DATABASE_FAILED, DATABASE_CORRUPT if nothing can be read now */
  assertReadable(): void {
    if (this.refusal !== undefined) throw this.refusal()
  }

  /** Makes no further attempts, and waits for the one that is under way. */
  async end(): Promise<void> {
    this.ended = true
    clearTimeout(this.timer)
    await this.running
  }

  private warn(message: string): void {
    if (message !== this.said) process.emitWarning(message, 'DatabaseWarning')
    this.said = message
  }

  private later(pause = PAUSE): void {
    if (this.ended) return
    this.timer = setTimeout(() => void this.attempt(), pause).unref()
  }

  private async attempt(): Promise<void> {
    const { location } = this.host
    try {
      await assertRoom(location)
    } catch {
      this.warn(failedBefore(location, this.cause, true).message)
      return this.later()
    }
    await this.host.atRest(async () => {
      if (this.ended) return
      this.running = this.reopen()
      await this.running
      this.running = undefined
    })
  }

  private async reopen(): Promise<void> {
    const { again, host } = this
    const { level, location } = host
    try {
      if (level.status === 'open') {
        this.refusal = () => openedAgain(location)
        this.times += 1
        await again.close()
        host.closed()
      }
      const witness = await again.open()
      try {
        await host.opened(witness)
      } catch (error) {
        await again.close()
        witness.close()
        throw error
      }
      this.openedAt = performance.now()
      this.warn(`the database ${location} can be written again, after a write that failed: ${whyOf(this.cause)}`)
    } catch (error) {
      const { code } = error as { code?: unknown }
      const final = again.changedHands || code === 'DATABASE_CORRUPT' || code === 'DATABASE_FORMAT'
      this.refusal = () => cannotReopen(location, error, final)
      this.warn(this.refusal().message)
      if (!final) this.later()
    }
  }
}

/** @throws why LevelDB could not be opened again there: it writes its log to tables then */
async function assertRoom(directory: string): Promise<void> {
  let needed = ROOM
  for (const name of await readdir(directory))
    if (name.endsWith('.log')) needed += (await stat(join(directory, name))).size
  const { bavail, bsize } = await statfs(directory)
  if (bavail * bsize < needed) throw new Error('there is no room')
  const path = join(directory, 'trial')
  const file = await open(path, 'w', 0o600)
  try {
    await rm(path)
    await file.writeFile(Buffer.alloc(TRIAL))
    await file.sync()
  } finally {
    await file.close()
  }
}
