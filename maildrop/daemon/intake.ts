/**
 * What there is to send in one spool: knows the names, hands out mail that is ready, and puts unfit files aside.
 *
 * New names come from file-system notification within milliseconds, and from scans, which find whatever a notification
 * missed. A name is only looked at when a connection is free to send it, so memory holds names, not messages, and a
 * large backlog is read once, not once per message. Fresh mail goes before deferred mail that is due.
 */
import { closeSync, type FSWatcher, lstatSync, readdirSync, renameSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { LONGEST_DELAY } from '../delivery/backoff.ts'
import { concernsOneFile, messageOf, spoolError, systemCode } from '../errors.ts'
import { newMailId } from '../spool/id.ts'
import { type Inspection, inspect, type ReadyMail } from '../spool/inspect.ts'
import { canBeMail, type Deferred, deferredDir, deferredName, ensureSpool, parseDeferredName } from '../spool/layout.ts'
import { idOfFile } from '../spool/state.ts'
import { inodesBeingWritten } from '../spool/writers.ts'
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
  /** Files that may still be written, which are looked at again soon. */
  readonly unsettled: number
  /** The next file that is ready, if any. */
  next(): Promise<Candidate | undefined>
  /** Puts a candidate back to the front. */
  putBack(candidate: Candidate): void
  /** Leaves a candidate that cannot be claimed where it is until the next scan. */
  leave(candidate: Candidate, error: unknown): void
  /** Reads the directories. */
  scan(): void
  /** Says that a message of this spool was deferred. */
  expect(due: number): void
  /** To be called a few times per second: notices what waits for a time, and a spool that was replaced. */
  tick(): Promise<void>
  close(): void
}

/**
 * Milliseconds for which a file must not change before it is judged: one that was renamed in (or unlocked) and carries no
 * `##Length`; one that was seen being written in place; one that is no mail yet, before it is given up; and any that
 * a process holds open for writing, which may just be slow.
 */
const SETTLE = { arrived: 50, written: 1000, incomplete: 10_000, open: 60_000 } as const

/** Names looked at in one go before other work gets its turn. */
const AT_ONCE = 200

interface Watched {
  readonly mark: string
  readonly inode: number
  readonly since: number
}

export function openIntake(spool: string, log: Log, onWork: () => void): Intake {
  const queue: string[] = []
  const queued = new Set<string>()
  const due: string[] = []
  const unsettled = new Map<string, Watched>()
  /** Names that came by a rename: a file written in place would have been reported as changed too. */
  const arrived = new Set<string>()
  /** Files that could be neither read nor moved. */
  const stuck = new Set<string>()
  let writers = { at: Number.NEGATIVE_INFINITY, inodes: new Set<number>() }
  let settling: NodeJS.Timeout | undefined
  let head = 0
  let nextDue = 0
  const watchers: FSWatcher[] = []
  let watchedDirectory = ''

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
    stopWatching()
    watchedDirectory = identityOf(spool)
    watchNames(spool, (event, name) => {
      if (event === 'change') return void arrived.delete(name)
      const mail = name.endsWith('.lck') ? name.slice(0, -4) : name
      if (canBeMail(mail)) arrived.add(mail)
      enqueue(mail)
      if (queue.length > head) onWork()
    })
    // Other daemons defer messages too, and an administrator makes them due.
    watchNames(deferredDir(spool), (_, name) => {
      nextDue = Math.min(nextDue, parseDeferredName(name)?.due ?? nextDue)
    })
  }

  const watchNames = (directory: string, onName: (event: string, name: string) => void): void => {
    try {
      const watcher = watch(directory, (event, name) => {
        if (name !== null) onName(event, name)
      })
      watcher.on('error', error => log.line('watch-failed', { directory, text: messageOf(error) }))
      watchers.push(watcher)
    } catch (error) {
      log.line('watch-failed', { directory, text: `${messageOf(error)}; scanning only` })
    }
  }

  const stopWatching = (): void => {
    for (const watcher of watchers.splice(0)) watcher.close()
  }

  const scanDeferred = (): void => {
    nextDue = Number.POSITIVE_INFINITY
    due.length = 0
    const now = Date.now()
    for (const name of readdirSync(deferredDir(spool)).sort()) {
      const deferred = parseDeferredName(name)
      if (deferred === undefined) continue
      if (isDue(deferred, now)) due.push(name)
      else nextDue = Math.min(nextDue, deferred.due)
    }
    due.reverse()
  }

  /** What becomes of a new file now; undefined if there is nothing to do with it yet. */
  const judge = (name: string, found: Inspection): Candidate['content'] | undefined => {
    if (found.kind === 'unsettled') {
      const watched = keepWatching(name, found)
      if (found.problem === undefined || !isLeftAlone(watched, SETTLE.incomplete)) return undefined
      return { kind: 'unfit', problem: found.problem }
    }
    unsettled.delete(name)
    arrived.delete(name)
    if (found.kind === 'nothing' || found.kind === 'locked') return undefined
    return found.kind === 'ready' ? { kind: 'mail', mail: found.mail } : found
  }

  /** Remembers that a file looked like this, and since when it has. */
  const keepWatching = (name: string, { mark, inode }: { mark: string; inode: number }): Watched => {
    const last = unsettled.get(name)
    if (last?.mark === mark) return last
    const watched = { mark, inode, since: performance.now() }
    unsettled.set(name, watched)
    if (arrived.has(name)) settling ??= setTimeout(lookAgain, SETTLE.arrived + 5)
    return watched
  }

  const lookAgain = (): void => {
    settling = undefined
    for (const name of unsettled.keys()) enqueue(name)
    onWork()
  }

  /** True if the file has not changed for `ms` milliseconds and nobody is going to change it. */
  const isLeftAlone = ({ inode, since }: Watched, ms: number): boolean => {
    const quiet = performance.now() - since
    if (quiet < ms) return false
    if (quiet >= SETTLE.open) return true
    // One look at all processes serves every file that has not changed since before it.
    if (writers.at < since) {
      writers = { at: performance.now(), inodes: inodesBeingWritten(new Set(unsettled.keys())) }
    }
    return !writers.inodes.has(inode)
  }

  const lookAtNew = (name: string): Candidate | undefined => {
    const watched = unsettled.get(name)
    let found = inspect(spool, name, false)
    if (found.kind === 'unsettled' && found.mark === watched?.mark) {
      const settled = isLeftAlone(watched, arrived.has(name) ? SETTLE.arrived : SETTLE.written)
      if (settled) found = inspect(spool, name, true)
    }
    const content = judge(name, found)
    if (content?.kind === 'mail' && (content.mail.notBefore ?? 0) > Date.now()) return schedule(name, content.mail)
    return content && { spool, directory: spool, name, deferredId: undefined, content }
  }

  /** Puts a file away until its time comes. Should another one have taken its name meanwhile, that one stays. */
  const schedule = (name: string, mail: ReadyMail): undefined => {
    closeSync(mail.fd)
    const due = mail.notBefore ?? 0
    const path = join(deferredDir(spool), deferredName(idOfFile(spool, name, mail.id), due, true))
    try {
      renameSync(join(spool, name), path)
      if (lstatSync(path).ino !== mail.inode) renameSync(path, join(spool, newMailId()))
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw spoolError('move', join(spool, name), error)
    }
    nextDue = Math.min(nextDue, due)
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

  /** Said once; the file is looked at again with every scan. */
  const leave = (name: string, error: unknown): void => {
    if (!stuck.has(name)) log.line('stuck', { spool, name, text: messageOf(error) })
    stuck.add(name)
  }

  const look = (): Candidate | 'more' | undefined => {
    for (let i = 0; i < AT_ONCE; i++) {
      const fresh = dequeue()
      const deferred = fresh === undefined ? due.pop() : undefined
      if (fresh === undefined && deferred === undefined) return undefined
      try {
        const found = fresh === undefined ? lookAtDeferred(deferred!) : lookAtNew(fresh)
        if (found !== undefined) return found
      } catch (error) {
        if (concernsOneFile(error)) {
          leave(fresh ?? deferred!, error)
          continue
        }
        if (fresh === undefined) due.push(deferred!)
        else enqueue(fresh)
        throw error
      }
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
    get unsettled() {
      return unsettled.size
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
    leave(candidate, error) {
      if (candidate.content.kind === 'mail') closeSync(candidate.content.mail.fd)
      leave(candidate.name, error)
    },
    scan,
    expect(at) {
      nextDue = Math.min(nextDue, at)
    },
    async tick() {
      if (identityOf(spool) !== watchedDirectory) {
        await ensureSpool(spool)
        startWatching()
        scan()
      } else if (Date.now() >= nextDue) scanDeferred()
      for (const name of unsettled.keys()) enqueue(name)
    },
    close() {
      stopWatching()
      clearTimeout(settling)
    },
  }
}

/** A clock that is set back postpones no retry: none is ever as far away as one that it has made so. */
function isDue({ due, scheduled }: Deferred, now: number): boolean {
  return due <= now || (!scheduled && due > now + LONGEST_DELAY)
}

/** Tells a directory from one that has taken its place; inode numbers alone are used again. */
function identityOf(directory: string): string {
  const stat = statSync(directory, { throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.ino}:${stat.birthtimeMs}`
}
