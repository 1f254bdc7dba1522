/**
 * What is known about the recipients of a message, kept beside it from its first deferral on: `.state/<id>`, one JSON object.
 *
 * It is written (fsynced, renamed) before anything relies on it, so an accepted recipient is never tried again. When a
 * message is given up, the file moves to `failed/<id>.json` and is the reason.
 */
import { existsSync } from 'node:fs'
import { open, readFile, rename, unlink } from 'node:fs/promises'
import { MaildropError, spoolError, systemCode } from '../errors.ts'
import { daemonStep } from '../steps.ts'
import { type Claim, claimLost, draftPath, holdsClaim } from './claim.ts'
import type { Envelope } from './format.ts'
import { isMailId, newMailId } from './id.ts'
import { holdDir, stateDir } from './layout.ts'
import type { MailState, RecipientState } from './state-shape.ts'
import { ensureDirectory, syncDirectory } from './sync.ts'

export type { MailState, RecipientState }

/** The state of a file that cannot be sent at all: nothing is known but why. */
export function unfitState(id: string, problem: string, name?: string): MailState {
  const state = newState({ id, written: Date.now(), envelope: { from: '', to: [] } })
  return { ...state, ...(name === undefined ? {} : { name }), problem }
}

/** The state of a message that has not been tried yet. One that had to wait for a time arrived when that came. */
export function newState(mail: {
  id: string
  name?: string | undefined
  written: number
  notBefore?: number | undefined
  envelope: Envelope
}): MailState {
  const { id, name, envelope } = mail
  const arrived = Math.max(mail.written, mail.notBefore ?? 0)
  const rest = {
    from: envelope.from,
    arrived: new Date(Math.min(arrived, Date.now())).toISOString(),
    attempts: 0,
    recipients: envelope.to.map((address): RecipientState => ({ address, status: 'waiting' })),
  }
  return name === undefined ? { version: 1, id, ...rest } : { version: 1, id, name, ...rest }
}

/**
 * The id of a file in the spool: its name, if it was written under it for that purpose and no other message goes by it.
 * @param written what its `##Id` line says
 */
export function idOfFile(spool: string, name: string, written: string | undefined): string {
  const isTaken = (id: string): boolean => existsSync(statePath(spool, id)) || existsSync(`${holdDir(spool)}/${id}`)
  return written === name && isMailId(name) && !isTaken(name) ? name : newMailId()
}

/** Transactions that have been recorded; files of before there was more than one per attempt do not say. */
export function recordedTransactions(state: MailState): number {
  return state.transactions ?? state.attempts
}

export function waitingRecipients(state: MailState): string[] {
  return state.recipients.filter(({ status }) => status === 'waiting').map(({ address }) => address)
}

/**
 * Reads the state of a message, undefined if there is none.
 * @throws {MaildropError} INVALID_MAIL_FILE if it is damaged; SPOOL_DENIED, SPOOL_FAILED if it cannot be read
 */
export async function readState(spool: string, id: string): Promise<MailState | undefined> {
  const path = statePath(spool, id)
  // Nearly every message has none, and this tells so without a trip through the thread pool.
  return existsSync(path) ? await readStateFile(path) : undefined
}

/** Reads a state file wherever it is: under `.state`, or as the reason in `failed`. */
export async function readStateFile(path: string): Promise<MailState | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw spoolError('read', path, error)
  }
  const { MailState } = await import('./state-shape.ts')
  try {
    return MailState.parse(JSON.parse(text))
  } catch (cause) {
    const text = `${path} is damaged, so it is not known who has got the message; it is given up, and sent to all again if you move it from failed back into the spool`
    throw new MaildropError('INVALID_MAIL_FILE', text, { cause, path })
  }
}

/**
 * Replaces the state of a claimed message, durably and as a whole. A directory that somebody has removed is made again.
 * @throws {MaildropError} CLAIM_LOST if the message is not ours any more; nothing has been changed then; SPOOL_FULL, SPOOL_DENIED …
 */
export async function writeState(claim: Claim, state: MailState): Promise<void> {
  const { spool } = claim
  const path = statePath(spool, state.id)
  const draft = draftPath(claim)
  ensureDirectory(stateDir(spool))
  try {
    const file = await open(draft, 'w', 0o600)
    try {
      await file.writeFile(`${JSON.stringify(state, undefined, 1)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, path)
    await syncDirectory(stateDir(spool))
  } catch (error) {
    if (systemCode(error) === 'ENOENT' && !holdsClaim(claim)) throw claimLost(claim)
    await unlink(draft).catch(() => undefined)
    throw spoolError('write', path, error)
  }
  daemonStep('state-written', state.id)
}

export async function removeState(spool: string, id: string): Promise<void> {
  try {
    await unlink(statePath(spool, id))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return
    throw spoolError('remove', statePath(spool, id), error)
  }
  daemonStep('state-removed', id)
}

export function statePath(spool: string, id: string): string {
  return `${stateDir(spool)}/${id}`
}
