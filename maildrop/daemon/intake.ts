/**
 * What there is to send in one spool: knows the names, hands out mail that is ready, and puts unfit files aside.
 *
 * New names come from file-system notification within milliseconds, and from scans, which find whatever a notification
 * missed. A name is only looked at when a connection is free to send it, so memory holds names, not messages, and a
 * large backlog is read once, not once per message. New and deferred mail take turns, and so do senders among each.
 */
import { closeSync, type FSWatcher, lstatSync, readdirSync, renameSync, statSync, watch } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as breathe } from 'node:timers/promises'
import { concernsOneFile, messageOf, spoolError, systemCode } from '../errors.ts'
import { newMailId } from '../spool/id.ts'
import { type Inspection, inspect, type ReadyMail } from '../spool/inspect.ts'
import { canBeMail, deferredDir, deferredName, ensureSpool, parseDeferredName } from '../spool/layout.ts'
import { isDamaged, renameDamaged } from '../spool/names.ts'
import { problemOfOwner } from '../spool/owner.ts'
import { peekSender } from '../spool/peek.ts'
import { idOfFile } from '../spool/state.ts'
import { inodesBeingWritten } from '../spool/writers.ts'
import { openFairQueue } from './fair-queue.ts'
import type { Log } from './log.ts'
import { openSchedule } from './schedule.ts'

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
  /** How long it has been as it is, if that had to be waited for. */
  readonly watched: Watched | undefined
}

export interface Intake {
  readonly spool: string
  /** Names waiting to be looked at. */
  readonly backlog: number
  /** Files that may still be written, which are looked at again soon. */
  readonly unsettled: number
  /** The next file that is ready, if any. */
  next(): Promise<Candidate | undefined>
  /** Says that a candidate has been claimed, or is gone; until then its name is not handed out again. */
  done(candidate: Candidate): void
  /** Puts a candidate back to the front. */
  putBack(candidate: Candidate): void
  /** Leaves a candidate that cannot be claimed where it is until the next scan. */
  leave(candidate: Candidate, error: unknown): void
  /** Reads the directories. */
  scan(): void
  /** Reads what is new only, which does not take longer the more is deferred. */
  scanNew(): void
  /** Says that a message of this spool was deferred. */
  expect(due: number): void
  /** To be called a few times per second: notices what waits for a time, and a spool that was replaced. */
  tick(): Promise<void>
  close(): void
}

/**
 * Milliseconds for which a file must not change before it is judged: one that was renamed in (or unlocked) and carries no
 * `##Length`; one that was seen being written in place; one that is no mail yet, before it is given up. One that a process
 * holds open for writing is not judged at all; after `open` this is said.
 */
const SETTLE = { arrived: 50, written: 1000, incomplete: 10_000, open: 60_000 }

/** Milliseconds after which it is seen whether a file is still open: a part of those that it has not changed for, between these. */
const LOOK = { part: 0.25, least: 1000, most: 30_000 }

/** Milliseconds after which a `.lck` is probably one that a dead writer left. */
const OLD_LOCK = 3_600_000

/** Names looked at in one go before other work gets its turn. */
const AT_ONCE = 200
/** Names of which the notification is still to come; more only if notifications have been lost. */
const MAX_LEAVING = 1000
/** While there is new mail, every so many-th turn is one of deferred mail that is due. */
const DEFERRED_TURN = 4

interface Watched {
  readonly mark: string
  readonly inode: number
  readonly since: number
  /** True if it has been waited for, and need not be again while it looks like this. */
  readonly settled: boolean
}

/**
 * @param shared whether the spool is shared with the group of its directory
 * @param settle for tests
 */
export function openIntake(
  spool: string,
  log: Log,
  onWork: () => void,
  shared: () => boolean = () => false,
  settle = SETTLE,
): Intake {
  const fresh = openFairQueue(name => peekSender(`${spool}/${name}`))
  const due = openFairQueue(name => peekSender(join(deferredDir(spool), name)))
  const schedule = openSchedule(deferredDir(spool), name => due.add(name))
  const unsettled = new Map<string, Watched>()
  /** Names that came by a rename: a file written in place would have been reported as changed too. */
  const arrived = new Set<string>()
  /** Names that have been handed out: one notification for each tells only that it has been claimed. */
  const leaving = new Set<string>()
  /** Files whose `.lck` or writer has been complained of. */
  const locked = new Set<string>()
  /** Files that could be neither read nor moved. */
  const stuck = new Set<string>()
  let writers = { at: Number.NEGATIVE_INFINITY, inodes: new Set<number>() }
  let settling: NodeJS.Timeout | undefined
  let turn = 0
  let isDeferredWatched = false
  const watchers: FSWatcher[] = []
  let watchedDirectories = ''
  /** False if the directories are not the ones that are watched, or could not be looked at meanwhile: names may have been missed. */
  const isWatched = (): boolean => {
    const known = watchedDirectories
    watchedDirectories = ''
    const there = identities(spool)
    if (there === known) watchedDirectories = known
    return there === known
  }

  const enqueue = (name: string): void => {
    if (canBeMail(name)) fresh.add(name)
  }

  const expect = (at: number): void => {
    if (!isDeferredWatched) schedule.expect(at)
  }

  const startWatching = (): void => {
    stopWatching()
    watchedDirectories = identities(spool)
    watchNames(spool, (event, name) => {
      if (event === 'change') return void arrived.delete(name)
      if (isDamaged(name)) return scanNew()
      const mail = name.endsWith('.lck') ? name.slice(0, -4) : name
      // What another daemon claims is notified as well.
      if (leaving.delete(name) || !canBeMail(mail) || !isThere(join(spool, mail))) return
      arrived.add(mail)
      enqueue(mail)
      if (fresh.size > 0) onWork()
    })
    // Other daemons defer messages too, and an administrator makes them due.
    isDeferredWatched = watchNames(deferredDir(spool), (_, name) => schedule.note(name))
  }

  const watchNames = (directory: string, onName: (event: string, name: string) => void): boolean => {
    try {
      const watcher = watch(directory, (event, name) => {
        if (name !== null) onName(event, name)
      })
      watcher.on('error', error => {
        isDeferredWatched = false
        log.line('watch-failed', { directory, text: messageOf(error) })
      })
      watchers.push(watcher)
      return true
    } catch (error) {
      log.line('watch-failed', { directory, text: `${messageOf(error)}; scanning only` })
      return false
    }
  }

  const stopWatching = (): void => {
    for (const watcher of watchers.splice(0)) watcher.close()
  }

  /** What becomes of a new file now; undefined if there is nothing to do with it yet. */
  const judge = (name: string, found: Inspection): Candidate['content'] | undefined => {
    if (found.kind === 'unsettled') {
      const watched = keepWatching(name, found)
      if (found.problem === undefined || !isLeftAlone(name, watched, settle.incomplete)) return undefined
      return { kind: 'unfit', problem: found.problem }
    }
    unsettled.delete(name)
    arrived.delete(name)
    if (found.kind === 'locked') return complainOfLock(name)
    if (found.kind === 'nothing') return undefined
    if (found.kind === 'stuck') return leave(name, new Error(found.problem))
    if (found.kind === 'unfit') return found
    const problem = problemOfOwner(spool, found.mail, shared())
    if (problem === undefined) return { kind: 'mail', mail: found.mail }
    closeSync(found.mail.fd)
    return { kind: 'unfit', problem }
  }

  /** A `.lck` is never removed here: who wrote it may be slow, and half a message must not go. */
  const complainOfLock = (name: string): undefined => {
    const since = statSync(join(spool, `${name}.lck`), { throwIfNoEntry: false })?.mtimeMs
    if (since === undefined || Date.now() - since < OLD_LOCK || locked.has(name)) return
    log.line('locked', { spool, name })
    locked.add(name)
  }

  /** Remembers that a file looked like this, and since when it has. */
  const keepWatching = (name: string, { mark, inode }: { mark: string; inode: number }): Watched => {
    const last = unsettled.get(name)
    if (last?.mark === mark) return last
    const watched = { mark, inode, since: performance.now(), settled: false }
    unsettled.set(name, watched)
    if (arrived.has(name)) settling ??= setTimeout(lookAgain, settle.arrived + 5)
    return watched
  }

  const lookAgain = (): void => {
    settling = undefined
    for (const name of unsettled.keys()) enqueue(name)
    onWork()
  }

  /** True if the file has not changed for `ms` milliseconds and nobody is going to change it. */
  const isLeftAlone = (name: string, { inode, since }: Watched, ms: number): boolean => {
    const now = performance.now()
    const quiet = now - since
    if (quiet < ms) return false
    // One look at all processes serves every file that has not changed since before it.
    const patience = Math.min(Math.max(quiet * LOOK.part, LOOK.least), LOOK.most)
    if (writers.at < since || (writers.inodes.has(inode) && now - writers.at > patience)) {
      writers = { at: now, inodes: inodesBeingWritten(new Set(unsettled.keys())) }
    }
    if (!writers.inodes.has(inode)) return true
    if (quiet >= settle.open && !locked.has(name)) {
      log.line('open', { spool, name })
      locked.add(name)
    }
    return false
  }

  const lookAtNew = (name: string): Candidate | undefined => {
    const watched = unsettled.get(name)
    let found = inspect(spool, name, false)
    if (found.kind === 'unsettled' && found.mark === watched?.mark) {
      const wait = arrived.has(name) ? settle.arrived : settle.written
      if (watched.settled || isLeftAlone(name, watched, wait)) found = inspect(spool, name, true)
    }
    const content = judge(name, found)
    if (content?.kind === 'mail' && (content.mail.notBefore ?? 0) > Date.now()) return putAway(name, content.mail)
    return content && { spool, directory: spool, name, deferredId: undefined, content, watched }
  }

  /** Puts a file away until its time comes. Should another one have taken its name meanwhile, that one stays. */
  const putAway = (name: string, mail: ReadyMail): undefined => {
    closeSync(mail.fd)
    const time = mail.notBefore ?? 0
    const path = join(deferredDir(spool), deferredName(idOfFile(spool, name, mail.id), time, true))
    try {
      renameSync(join(spool, name), path)
      if (lstatSync(path).ino !== mail.inode) renameSync(path, join(spool, newMailId()))
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw spoolError('move', join(spool, name), error)
    }
    expect(time)
  }

  const lookAtDeferred = (name: string): Candidate | undefined => {
    const found = inspect(deferredDir(spool), name, true)
    if (found.kind === 'nothing' || found.kind === 'locked' || found.kind === 'stuck') return undefined
    const content: Candidate['content'] =
      found.kind === 'ready'
        ? { kind: 'mail', mail: found.mail }
        : { kind: 'unfit', problem: found.problem ?? 'it changed while it was deferred' }
    const deferredId = parseDeferredName(name)?.id
    return { spool, directory: deferredDir(spool), name, deferredId, content, watched: undefined }
  }

  /** Said once; the file is looked at again with every scan. */
  const leave = (name: string, error: unknown): undefined => {
    if (!stuck.has(name)) log.line('stuck', { spool, name, text: messageOf(error) })
    stuck.add(name)
  }

  const look = (): Candidate | 'more' | undefined => {
    for (let i = 0; i < AT_ONCE; i++) {
      const isNew = fresh.size > 0 && (due.size === 0 || turn++ % DEFERRED_TURN !== 0)
      const queue = isNew ? fresh : due
      const name = queue.take()
      if (name === undefined) return undefined
      try {
        const found = isNew ? lookAtNew(name) : lookAtDeferred(name)
        if (found === undefined) {
          queue.done(name)
          continue
        }
        if (isNew && leaving.size < MAX_LEAVING) leaving.add(name)
        return found
      } catch (error) {
        if (!concernsOneFile(error)) {
          queue.putBack(name)
          throw error
        }
        queue.done(name)
        leave(name, error)
      }
    }
    return 'more'
  }

  const queueOf = ({ directory }: Candidate): typeof fresh => (directory === spool ? fresh : due)

  const scanning = (work: () => void) => (): void => {
    try {
      work()
    } catch (error) {
      log.line('scan-failed', { spool, text: messageOf(error) })
    }
  }
  const readNew = (): void => {
    leaving.clear()
    const names = readdirSync(spool)
    if (names.some(isDamaged)) {
      for (const { id, name } of renameDamaged(spool)) {
        log.line('named', { id, name })
        names.push(id)
      }
    }
    for (const name of names.sort()) enqueue(name)
  }
  const scanNew = scanning(readNew)
  const scan = scanning(() => {
    readNew()
    schedule.scan()
  })

  startWatching()
  scan()

  return {
    spool,
    get backlog() {
      return fresh.size + due.size
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
    done: candidate => queueOf(candidate).done(candidate.name),
    putBack(candidate) {
      if (candidate.content.kind === 'mail') closeSync(candidate.content.mail.fd)
      leaving.delete(candidate.name)
      if (candidate.watched) unsettled.set(candidate.name, { ...candidate.watched, settled: true })
      queueOf(candidate).putBack(candidate.name)
    },
    leave(candidate, error) {
      if (candidate.content.kind === 'mail') closeSync(candidate.content.mail.fd)
      leaving.delete(candidate.name)
      queueOf(candidate).done(candidate.name)
      leave(candidate.name, error)
    },
    scan,
    scanNew,
    expect,
    async tick() {
      if (isWatched()) schedule.tick()
      else {
        await ensureSpool(spool)
        startWatching()
        scan()
      }
      for (const name of unsettled.keys()) enqueue(name)
    },
    close() {
      stopWatching()
      clearTimeout(settling)
    },
  }
}

/** Whether there is such an entry, of any kind; false as well if that cannot be told. */
function isThere(path: string): boolean {
  try {
    return lstatSync(path, { throwIfNoEntry: false }) !== undefined
  } catch {
    return false
  }
}

function identities(spool: string): string {
  return [spool, deferredDir(spool)].map(identityOf).join(' ')
}

/** Tells a directory from one that has taken its place; inode numbers alone are used again. */
function identityOf(directory: string): string {
  const stat = statSync(directory, { throwIfNoEntry: false })
  return stat === undefined ? 'none' : `${stat.ino}:${stat.birthtimeMs}`
}
