/**
 * What there is to send in one spool: knows the names, hands out mail that is ready, and puts unfit files aside.
 *
 * New names come from file-system notification within milliseconds, and from scans, which find whatever a notification
 * missed. A name is only looked at when a connection is free to send it, so memory holds names, not messages, and a
 * large backlog is read once, not once per message. New and deferred mail take turns, and so do senders among each.
 */
import { closeSync, lstatSync, readdirSync, renameSync } from 'node:fs'
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
import { openFairQueue } from './fair-queue.ts'
import type { Log } from './log.ts'
import { openNotices } from './notices.ts'
import { openSchedule } from './schedule.ts'
import { openUnsettled, type SETTLE, type Watched } from './unsettled.ts'

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

/** Names looked at in one go before other work gets its turn. */
const AT_ONCE = 200
/** Names of which the notification is still to come; more only if notifications have been lost. */
const MAX_LEAVING = 1000
/** While there is new mail, every so many-th turn is one of deferred mail that is due. */
const DEFERRED_TURN = 4

/**
 * @param shared whether the spool is shared with the group of its directory
 * @param settle for tests
 */
export function openIntake(
  spool: string,
  log: Log,
  onWork: () => void,
  shared: () => boolean = () => false,
  settle?: typeof SETTLE,
): Intake {
  const fresh = openFairQueue(name => peekSender(`${spool}/${name}`))
  const due = openFairQueue(name => peekSender(join(deferredDir(spool), name)))
  const schedule = openSchedule(deferredDir(spool), name => due.add(name))
  const unsettled = openUnsettled(spool, log, () => lookAgain(), settle)
  /** Names that have been handed out: one notification for each tells only that it has been claimed. */
  const leaving = new Set<string>()
  /** Files that could be neither read nor moved. */
  const stuck = new Set<string>()
  let turn = 0

  const enqueue = (name: string): void => {
    if (canBeMail(name)) fresh.add(name)
  }

  const expect = (at: number): void => {
    if (!notices.tellDeferred) schedule.expect(at)
  }

  const noticeNew = (event: string, name: string): void => {
    if (event === 'change') return void unsettled.changed(name)
    if (isDamaged(name)) return void scanNew()
    const mail = name.endsWith('.lck') ? name.slice(0, -4) : name
    // What another daemon claims is notified as well.
    if (leaving.delete(name) || !canBeMail(mail) || !isThere(join(spool, mail))) return
    unsettled.arrived(mail)
    enqueue(mail)
    if (fresh.size > 0) onWork()
  }

  // Other daemons defer messages too, and an administrator makes them due.
  const notices = openNotices(spool, log, noticeNew, (_, name) => schedule.note(name))

  const lookAgain = (): void => {
    for (const name of unsettled.names()) enqueue(name)
    onWork()
  }

  /** What becomes of a new file now; undefined if there is nothing to do with it yet. */
  const judge = (found: Inspection, name: string): Candidate['content'] | undefined => {
    if (found.kind === 'nothing' || found.kind === 'unsettled' || found.kind === 'locked') return undefined
    if (found.kind === 'stuck') return leave(name, new Error(found.problem))
    if (found.kind === 'unfit') return found
    const problem = problemOfOwner(spool, found.mail, shared())
    if (problem === undefined) return { kind: 'mail', mail: found.mail }
    closeSync(found.mail.fd)
    return { kind: 'unfit', problem }
  }

  const lookAtNew = (name: string): Candidate | undefined => {
    const watched = unsettled.of(name)
    const content = judge(unsettled.look(name), name)
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

  notices.start()
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
      if (candidate.watched) unsettled.settled(candidate.name, candidate.watched)
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
      if (notices.areWatched()) schedule.tick()
      else {
        await ensureSpool(spool)
        notices.start()
        scan()
      }
      for (const name of unsettled.names()) enqueue(name)
    },
    close() {
      notices.stop()
      unsettled.close()
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
