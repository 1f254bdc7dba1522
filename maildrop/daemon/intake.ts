/**
 * What there is to send in one spool: knows the names, hands out mail that is ready, and puts unfit files aside.
 *
 * New names come from file-system notification within milliseconds, and from scans, which find whatever a notification
 * missed. A name is only looked at when a connection is free to send it, so memory holds names, not messages, and a
 * large backlog is read once, not once per message. Fresh mail goes before deferred mail that is due.
 */
import { closeSync, type FSWatcher, readdirSync, statSync, watch } from 'node:fs'
import { setImmediate as breathe } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import { type Inspection, inspect, type ReadyMail } from '../spool/inspect.ts'
import { canBeMail, deferredDir, ensureSpool, parseDeferredName } from '../spool/layout.ts'
import type { Log } from './log.ts'

/** A file that is ready, still in its place. `close` it when done. */
export interface Candidate {
  readonly spool: string
  /** Where the file is, and its name there. */
  readonly directory: string
  readonly name: string
  /** The id of a deferred message. */
  readonly deferredId: string | undefined
  readonly content:
    | { readonly kind: 'mail'; readonly mail: ReadyMail }
    | { readonly kind: 'unfit'; readonly problem: string }
}

export interface Intake {
  readonly spool: string
  /** Names waiting to be looked at. */
  readonly backlog: number
  /** The next file that is ready, if any. */
  next(): Promise<Candidate | undefined>
  /** Puts a candidate back to the front. */
  putBack(candidate: Candidate): void
  /** Reads the directories. */
  scan(): void
  /** Says that a message of this spool was deferred. */
  expect(due: number): void
  /** To be called a few times per second: notices what waits for a time, and a spool that was replaced. */
  tick(): Promise<void>
  close(): void
}

/** Milliseconds for which a file without `##Length` must not change before it counts as complete. */
export const SETTLE_TIME = 1000
/** The same for one that does not even have its `##` lines and a message yet, before it is given up. */
export const PATIENCE = 10_000

/** Names looked at in one go before other work gets its turn. */
const AT_ONCE = 200

interface Watched {
  readonly mark: string
  readonly since: number
}

export function openIntake(spool: string, log: Log, onWork: () => void): Intake {
  const queue: string[] = []
  const queued = new Set<string>()
  const due: string[] = []
  const unsettled = new Map<string, Watched>()
  let head = 0
  let nextDue = 0
  let watcher: FSWatcher | undefined
  let watchedInode = 0

  const enqueue = (name: string): void => {
    if (!canBeMail(name) || queued.has(name)) return
    queued.add(name)
    queue.push(name)
  }

  const dequeue = (): string | undefined => {
    const name = queue[head]
    if (name === undefined) return undefined
    head += 1
    if (head > 1000 && head * 2 > queue.length) {
      queue.splice(0, head)
      head = 0
    }
    queued.delete(name)
    return name
  }

  const startWatching = (): void => {
    watcher?.close()
    watcher = undefined
    watchedInode = statSync(spool).ino
    try {
      watcher = watch(spool, (event, name) => {
        if (event !== 'rename' || name === null) return
        enqueue(name.endsWith('.lck') ? name.slice(0, -4) : name)
        if (queue.length > head) onWork()
      })
      watcher.on('error', error => log.line('watch-failed', { spool, text: messageOf(error) }))
    } catch (error) {
      log.line('watch-failed', { spool, text: `${messageOf(error)}; scanning only` })
    }
  }

  const scanDeferred = (): void => {
    nextDue = Number.POSITIVE_INFINITY
    due.length = 0
    const now = Date.now()
    for (const name of readdirSync(deferredDir(spool)).sort()) {
      const deferred = parseDeferredName(name)
      if (deferred === undefined) continue
      if (deferred.due <= now) due.push(name)
      else nextDue = Math.min(nextDue, deferred.due)
    }
    due.reverse()
  }

  /** What becomes of a new file now; undefined if there is nothing to do with it yet. */
  const judge = (name: string, found: Inspection): Candidate['content'] | undefined => {
    if (found.kind === 'unsettled') {
      const since = keepWatching(name, found.mark)
      if (found.problem === undefined || performance.now() - since < PATIENCE) return undefined
      return { kind: 'unfit', problem: found.problem }
    }
    unsettled.delete(name)
    if (found.kind === 'nothing' || found.kind === 'locked') return undefined
    return found.kind === 'ready' ? { kind: 'mail', mail: found.mail } : found
  }

  /** Remembers that a file looked like this; returns since when it has. */
  const keepWatching = (name: string, mark: string): number => {
    const watched = unsettled.get(name)
    if (watched?.mark === mark) return watched.since
    unsettled.set(name, { mark, since: performance.now() })
    return performance.now()
  }

  const lookAtNew = (name: string): Candidate | undefined => {
    const watched = unsettled.get(name)
    const long = watched !== undefined && performance.now() - watched.since >= SETTLE_TIME
    let found: Inspection
    try {
      found = inspect(spool, name, false)
      if (long && found.kind === 'unsettled' && found.mark === watched.mark) found = inspect(spool, name, true)
    } catch (error) {
      keepWatching(name, 'not looked at')
      throw error
    }
    const content = judge(name, found)
    return content && { spool, directory: spool, name, deferredId: undefined, content }
  }

  const lookAtDeferred = (name: string): Candidate | undefined => {
    const found = inspect(deferredDir(spool), name, true)
    if (found.kind === 'nothing' || found.kind === 'locked') return undefined
    const content: Candidate['content'] =
      found.kind === 'ready'
        ? { kind: 'mail', mail: found.mail }
        : { kind: 'unfit', problem: found.problem ?? 'it changed while it was deferred' }
    return { spool, directory: deferredDir(spool), name, deferredId: parseDeferredName(name)?.id, content }
  }

  const look = (): Candidate | 'more' | undefined => {
    for (let i = 0; i < AT_ONCE; i++) {
      const fresh = dequeue()
      const deferred = fresh === undefined ? due.pop() : undefined
      if (fresh === undefined && deferred === undefined) return undefined
      const found = fresh === undefined ? lookAtDeferred(deferred!) : lookAtNew(fresh)
      if (found !== undefined) return found
    }
    return 'more'
  }

  const scan = (): void => {
    try {
      for (const name of readdirSync(spool).sort()) enqueue(name)
      scanDeferred()
    } catch (error) {
      log.line('scan-failed', { spool, text: messageOf(error) })
    }
  }

  startWatching()
  scan()

  return {
    spool,
    get backlog() {
      return queue.length - head + due.length
    },
    async next() {
      for (;;) {
        const found = look()
        if (found !== 'more') return found
        await breathe()
      }
    },
    putBack(candidate) {
      if (candidate.content.kind === 'mail') closeSync(candidate.content.mail.fd)
      if (candidate.deferredId !== undefined) due.push(candidate.name)
      else if (!queued.has(candidate.name)) {
        queued.add(candidate.name)
        if (head > 0) queue[--head] = candidate.name
        else queue.unshift(candidate.name)
      }
    },
    scan,
    expect(at) {
      nextDue = Math.min(nextDue, at)
    },
    async tick() {
      const inode = statSync(spool, { throwIfNoEntry: false })?.ino
      if (inode !== watchedInode) {
        await ensureSpool(spool)
        startWatching()
        scan()
      } else if (Date.now() >= nextDue) scanDeferred()
      for (const name of unsettled.keys()) enqueue(name)
    },
    close() {
      watcher?.close()
    },
  }
}
