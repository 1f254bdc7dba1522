/**
 * New files that somebody may still be writing: what a file is, is believed once it has not changed for a while and no process that can be
 * seen holds it open for writing.
 *
 * A `.lck` is never removed here: who wrote it may be slow, and half a message must not go. What keeps a file waiting for long is said once.
 */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { type Inspection, inspect } from '../spool/inspect.ts'
import { inodesBeingWritten } from '../spool/writers.ts'
import type { Log } from './log.ts'

export interface Unsettled {
  readonly size: number
  names(): Iterable<string>
  /** A name came by a rename: a file written in place would have been reported as changed too. */
  arrived(name: string): void
  /** A file was written in place. */
  changed(name: string): void
  /** How long a file has been as it is, if that has to be waited for. */
  of(name: string): Watched | undefined
  /** What a file is now; `unsettled` as long as it has to be waited for, and not known here otherwise. */
  look(name: string): Inspection
  /** It has been waited for, and need not be again while it looks like this. */
  settled(name: string, watched: Watched): void
  close(): void
}

export interface Watched {
  readonly mark: string
  readonly inode: number
  readonly since: number
  readonly settled: boolean
}

/**
 * Milliseconds for which a file must not change before it is judged: one that was renamed in (or unlocked) and carries no
 * `##Length`; one that was seen being written in place; one that is no mail yet, before it is given up. One that a process
 * holds open for writing is not judged at all; after `open` this is said.
 */
export const SETTLE = { arrived: 50, written: 1000, incomplete: 10_000, open: 60_000 }

/** Milliseconds after which it is seen whether a file is still open: a part of those that it has not changed for, between these. */
const LOOK = { part: 0.25, least: 1000, most: 30_000 }

/** Milliseconds after which a `.lck` is probably one that a dead writer left. */
const OLD_LOCK = 3_600_000

/** @param onSettled called when a file that arrived may be judged */
export function openUnsettled(spool: string, log: Log, onSettled: () => void, settle = SETTLE): Unsettled {
  const files = new Map<string, Watched>()
  const arrived = new Set<string>()
  /** Files whose `.lck` or writer has been complained of. */
  const complained = new Set<string>()
  let writers = { at: Number.NEGATIVE_INFINITY, inodes: new Set<number>() }
  let timer: NodeJS.Timeout | undefined

  const complain = (event: 'open' | 'locked', name: string): void => {
    if (!complained.has(name)) log.line(event, { spool, name })
    complained.add(name)
  }

  /** Remembers that a file looked like this, and since when it has. */
  const watch = (name: string, { mark, inode }: { mark: string; inode: number }): Watched => {
    const last = files.get(name)
    if (last?.mark === mark) return last
    const watched = { mark, inode, since: performance.now(), settled: false }
    files.set(name, watched)
    if (arrived.has(name)) timer ??= setTimeout(lookAgain, settle.arrived + 5)
    return watched
  }

  const lookAgain = (): void => {
    timer = undefined
    onSettled()
  }

  /** True if the file has not changed for `ms` milliseconds and nobody is going to change it. */
  const isLeftAlone = (name: string, { inode, since }: Watched, ms: number): boolean => {
    const now = performance.now()
    const quiet = now - since
    if (quiet < ms) return false
    // One look at all processes serves every file that has not changed since before it.
    const patience = Math.min(Math.max(quiet * LOOK.part, LOOK.least), LOOK.most)
    if (writers.at < since || (writers.inodes.has(inode) && now - writers.at > patience)) {
      writers = { at: now, inodes: inodesBeingWritten(new Set(files.keys())) }
    }
    if (!writers.inodes.has(inode)) return true
    if (quiet >= settle.open) complain('open', name)
    return false
  }

  const inspectSettled = (name: string): Inspection => {
    const found = inspect(spool, name, false)
    const watched = files.get(name)
    if (found.kind !== 'unsettled' || found.mark !== watched?.mark) return found
    const wait = arrived.has(name) ? settle.arrived : settle.written
    return watched.settled || isLeftAlone(name, watched, wait) ? inspect(spool, name, true) : found
  }

  return {
    get size() {
      return files.size
    },
    names: () => files.keys(),
    arrived: name => void arrived.add(name),
    changed: name => void arrived.delete(name),
    of: name => files.get(name),
    look(name) {
      const found = inspectSettled(name)
      if (found.kind === 'unsettled') {
        const watched = watch(name, found)
        const isFinal = found.problem !== undefined && isLeftAlone(name, watched, settle.incomplete)
        return isFinal ? { kind: 'unfit', problem: found.problem } : found
      }
      files.delete(name)
      arrived.delete(name)
      if (found.kind === 'locked') {
        const since = statSync(join(spool, `${name}.lck`), { throwIfNoEntry: false })?.mtimeMs
        if (since !== undefined && Date.now() - since >= OLD_LOCK) complain('locked', name)
      }
      return found
    },
    settled: (name, watched) => void files.set(name, { ...watched, settled: true }),
    close: () => clearTimeout(timer),
  }
}
