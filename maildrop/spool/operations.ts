/**
 * What an administrator does to messages: hold, release, retry, delete, and flush for all that are deferred.
 *
 *     hold      waiting, scheduled, deferred → held
 *     release   held → waiting, or due now if it has been tried before
 *     retry     scheduled, deferred → due now;  failed → due now, its failed recipients waiting again
 *     delete    anything but active → gone
 *
 * It makes no difference whether a daemon runs. A message changes hands by one rename, so of an operation and a daemon that
 * want the same message one is too late and says so (MAIL_BUSY). What has been sent to somebody is never forgotten, whatever
 * moment the process dies at: a failed message is claimed before its state is written, and a claim of a dead process is
 * taken back by any daemon.
 */
import { closeSync, existsSync, lstatSync, rmdirSync, unlinkSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { MaildropError, spoolError, systemCode } from '../errors.ts'
import { moveClaim, openClaims, removeOf } from './claim.ts'
import { moved, namesIn } from './entries.ts'
import { isMailId, newMailId } from './id.ts'
import { inspect } from './inspect.ts'
import { deferredDir, deferredName, failedDir, holdDir, parseDeferredName, reasonPath } from './layout.ts'
import type { QueuedMail } from './listing.ts'
import { idOfFile, type MailState, readState, readStateFile, removeState, statePath, writeState } from './state.ts'
import { ensureDirectory, syncDirectory } from './sync.ts'

export type Operation = 'hold' | 'release' | 'retry' | 'delete'

/** A message as `listSpool` and `findMail` tell it. */
export type MailRef = Pick<QueuedMail, 'spool' | 'id' | 'status' | 'path'>

/**
 * Does something to one message, durably.
 * @returns the id that it goes by now: a file that was dropped gets one
 * @throws {MaildropError} MAIL_BUSY, WRONG_STATE; INVALID_MAIL_FILE for a state that is damaged; SPOOL_DENIED …
 */
export async function operate(operation: Operation, mail: MailRef): Promise<string> {
  const id = await WORK[operation](mail)
  await syncAll(mail.spool)
  return id
}

/** Does something to many messages, made durable together at the end; what cannot be done to one is told and stops none. */
export async function* operateOnAll(
  operation: Operation,
  mails: Iterable<MailRef> | AsyncIterable<MailRef>,
): AsyncGenerator<{ readonly mail: MailRef; readonly id: string; readonly error: MaildropError | undefined }> {
  const spools = new Set<string>()
  try {
    for await (const mail of mails) {
      let { id } = mail
      let error: MaildropError | undefined
      try {
        id = await WORK[operation](mail)
        spools.add(mail.spool)
      } catch (thrown) {
        if (!(thrown instanceof MaildropError)) throw thrown
        error = thrown
      }
      yield { mail, id, error }
    }
  } finally {
    for (const spool of spools) await syncAll(spool)
  }
}

/**
 * Makes every deferred message of a spool due now. What is scheduled keeps its time.
 * @returns how many
 */
export async function flushSpool(spool: string, now = Date.now()): Promise<number> {
  const directory = deferredDir(spool)
  let count = 0
  for (const name of namesIn(directory)) {
    const deferred = parseDeferredName(name)
    if (deferred === undefined || deferred.scheduled || deferred.due <= now) continue
    if (moved(join(directory, name), join(directory, deferredName(deferred.id, now - 1000)))) count += 1
  }
  if (count > 0) await syncDirectory(directory)
  return count
}

const WORK: Record<Operation, (mail: MailRef) => Promise<string>> = {
  async hold(mail) {
    refuse(mail, { active: ACTIVE, failed: 'it is not going to be sent; retry or delete it' })
    if (mail.status === 'held') return mail.id
    const id = idOf(mail)
    move(mail, join(holdDir(mail.spool), id))
    return id
  },

  async release(mail) {
    const other = 'it is not on hold'
    refuse(mail, { active: ACTIVE, waiting: other, scheduled: other, deferred: other, failed: `${other}; retry it` })
    const { id } = mail
    if (existsSync(statePath(mail.spool, id))) return moveAs(mail, id, dueNow)
    return moveAs(mail, idAsNew(mail), asNew)
  },

  async retry(mail) {
    refuse(mail, { active: ACTIVE, held: 'it is on hold; release it' })
    if (mail.status === 'failed') return await retryFailed(mail)
    return mail.status === 'waiting' ? mail.id : moveAs(mail, idOf(mail), dueNow)
  },

  async delete(mail) {
    refuse(mail, { active: ACTIVE })
    if (isNew(mail) && existsSync(`${mail.path}.lck`)) throw locked(mail)
    try {
      remove(mail)
    } catch (error) {
      if (error instanceof MaildropError) throw error
      throw systemCode(error) === 'ENOENT' ? busy(mail) : spoolError('remove', mail.path, error)
    }
    await forget(mail)
    return mail.id
  },
}

const ACTIVE = 'it is being delivered'

/**
 * The claim makes it this process's alone, so that no other one can have sent something meanwhile that the state, read and
 * written here, does not know. Should the process die before the state is written, the claim goes back to `failed`.
 */
async function retryFailed(mail: MailRef): Promise<string> {
  const claims = openClaims(mail.spool)
  const claim = claims.take(mail.path, mail.id)
  if (claim === undefined) throw busy(mail)
  let { id } = mail
  try {
    const state = await stateOfFailed(mail)
    if (state !== undefined) {
      await writeState(claim, waitingAgain(state))
      removeOf(claim, reasonPath(mail.spool, mail.id))
    } else await forget(mail)
    if (state === undefined) id = idAsNew(mail)
    if (!moveClaim(claim, state === undefined ? asNew(mail, id) : dueNow(mail, id))) throw busy(mail)
  } catch (error) {
    moveClaim(claim, mail.path)
    throw error
  } finally {
    claims.close()
  }
  return id
}

/** Undefined for a file that was no mail: it is looked at again. */
async function stateOfFailed(mail: MailRef): Promise<MailState | undefined> {
  const state = (await readStateFile(reasonPath(mail.spool, mail.id))) ?? (await readState(mail.spool, mail.id))
  return state?.recipients.length ? state : undefined
}

/** Attempts and age are counted anew: whoever asks for a retry means more than one attempt at a message that was too old. */
function waitingAgain(state: MailState): MailState {
  const { problem: _problem, held: _held, ...rest } = state
  const recipients = state.recipients.map(recipient =>
    recipient.status === 'failed' ? { ...recipient, status: 'waiting' as const } : recipient,
  )
  return { ...rest, arrived: new Date().toISOString(), attempts: 0, recipients }
}

/** The id that a message goes by from now on: a file that was dropped gets one. */
function idOf(mail: MailRef): string {
  if (!isNew(mail)) return mail.id
  const found = inspect(dirname(mail.path), basename(mail.path), true)
  if (found.kind === 'locked') throw locked(mail)
  if (found.kind !== 'ready') return newMailId()
  closeSync(found.mail.fd)
  return idOfFile(mail.spool, mail.id, found.mail.id)
}

/** True if the message is where its writer put it. */
function isNew(mail: MailRef): boolean {
  return dirname(mail.path) === mail.spool
}

/** What is in a directory that was put aside nobody has looked at. */
function remove(mail: MailRef): void {
  if (!lstatSync(mail.path).isDirectory()) return void unlinkSync(mail.path)
  try {
    rmdirSync(mail.path)
  } catch (error) {
    if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error
    const text = `message ${mail.id} is a directory with something in it: look at ${mail.path}, and remove that yourself`
    throw new MaildropError('WRONG_STATE', text, { path: mail.path })
  }
}

function refuse(mail: MailRef, reasons: Partial<Record<QueuedMail['status'], string>>): void {
  const reason = reasons[mail.status]
  if (reason === undefined) return
  const code = mail.status === 'active' ? 'MAIL_BUSY' : 'WRONG_STATE'
  throw new MaildropError(code, `message ${mail.id} is ${mail.status}: ${reason}`, { path: mail.path })
}

function locked(mail: MailRef): MaildropError {
  const text = `message ${mail.id} is locked by its writer: ${mail.path}.lck stands beside it; remove that first if nobody writes any more`
  return new MaildropError('MAIL_BUSY', text, { path: mail.path })
}

function busy(mail: MailRef): MaildropError {
  const text = `message ${mail.id} is not ${mail.status} any more: a daemon or somebody else was faster; look again`
  return new MaildropError('MAIL_BUSY', text, { path: mail.path })
}

/** A name rounded up to the next second would not be due yet. */
function dueNow({ spool }: MailRef, id: string): string {
  return join(deferredDir(spool), deferredName(id, Date.now() - 1000))
}

function asNew({ spool }: MailRef, id: string): string {
  return join(spool, id)
}

const idAsNew = ({ id }: MailRef): string => (isMailId(id) ? id : newMailId())

async function forget(mail: MailRef): Promise<void> {
  if (isNew(mail)) return
  if (mail.status === 'failed') removeReason(mail)
  await removeState(mail.spool, mail.id)
}

function removeReason(mail: MailRef): void {
  const path = reasonPath(mail.spool, mail.id)
  try {
    unlinkSync(path)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw spoolError('remove', path, error)
  }
}

function moveAs(mail: MailRef, id: string, to: (mail: MailRef, id: string) => string): string {
  move(mail, to(mail, id))
  return id
}

function move(mail: MailRef, to: string): void {
  ensureDirectory(dirname(to))
  if (!moved(mail.path, to)) throw busy(mail)
}

async function syncAll(spool: string): Promise<void> {
  for (const directory of [spool, deferredDir(spool), failedDir(spool), holdDir(spool)]) {
    if (existsSync(directory)) await syncDirectory(directory)
  }
}
