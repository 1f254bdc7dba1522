/**
 * A claimed message: what is known about it, and how it comes to be one and ceases to be. Its transactions are transaction.ts; what becomes
 * of it then is settling.ts.
 *
 * Whatever fails here concerns this message only; the connection is the caller's.
 */
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import type { MaildropConfig } from '../config.ts'
import { MaildropError, messageOf } from '../errors.ts'
import { type Claim, type Claims, isSameFile, moveClaim } from '../spool/claim.ts'
import { newMailId } from '../spool/id.ts'
import type { ReadyMail } from '../spool/inspect.ts'
import { deferredDir, deferredName } from '../spool/layout.ts'
import { idOfFile, type MailState, newState, readState, unfitState, waitingRecipients } from '../spool/state.ts'
import { inTheEnd, type Patience, recordInTheEnd } from './in-the-end.ts'
import type { Candidate } from './intake.ts'

/** A claimed message and what is known about it. */
export interface Job {
  readonly claim: Claim
  readonly mail: ReadyMail
  readonly state: MailState
  /** Recipients that this attempt has still to try. */
  readonly pending: readonly string[]
  /** True if the state has been written before. */
  readonly known: boolean
  /** Where it goes if nothing is tried. */
  readonly origin: string
}

/** What a job needs of the daemon around it. */
export interface JobContext extends Patience {
  readonly config: MaildropConfig
}

/**
 * Claims a candidate.
 * @returns undefined if another daemon was faster, or the file has just been replaced
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED: the candidate is where it was, and still open
 */
export async function claimJob(candidate: Candidate, claims: Claims, context: JobContext): Promise<Job | undefined> {
  const { log } = context
  if (candidate.content.kind === 'unfit') {
    await putAside(candidate, candidate.content.problem, claims, context)
    return undefined
  }
  const { mail } = candidate.content
  const id = candidate.deferredId ?? idOfFile(candidate.spool, candidate.name, mail.id)
  const name = candidate.deferredId === undefined && id !== candidate.name ? candidate.name : undefined
  const origin = placeOf(candidate, id)
  const claim = claims.take(`${candidate.directory}/${candidate.name}`, id)
  if (claim === undefined || !isSameFile(claim, mail.inode, mail.size)) {
    if (claim !== undefined) moveClaim(claim, origin)
    closeSync(mail.fd)
    return undefined
  }
  if (name !== undefined) log.line('named', { id, name })
  const fresh = newState({ id, name, written: mail.written, notBefore: mail.notBefore, envelope: mail.envelope })
  try {
    // Of a new file nothing is known, or it would have got another id.
    const known = candidate.deferredId === undefined ? undefined : await readState(candidate.spool, id)
    const state = known ?? fresh
    return { claim, mail, state, pending: waitingRecipients(state), known: known !== undefined, origin }
  } catch (error) {
    const damaged = error instanceof MaildropError && error.code === 'INVALID_MAIL_FILE'
    if (!damaged) {
      moveClaim(claim, origin)
      throw error
    }
    closeSync(mail.fd)
    await giveUp(claim, messageOf(error), name, context)
    return undefined
  }
}

/** Where a message comes from, under the id it has now. */
function placeOf({ spool, deferredId }: Candidate, id: string): string {
  return deferredId === undefined ? `${spool}/${id}` : deferredPlace(spool, id)
}

/** Where a message goes that is due now, and has been tried. */
export function deferredPlace(spool: string, id: string): string {
  return join(deferredDir(spool), deferredName(id, Date.now()))
}

/** Puts a claimed message back as if nothing had been tried. */
export async function giveBack(job: Job, context: JobContext): Promise<void> {
  await inTheEnd(job.claim, () => moveClaim(job.claim, job.origin), context)
}

/** Closes the message's file. */
export function closeJob(job: Job): void {
  closeSync(job.mail.fd)
}

/** Moves a file that cannot become mail to `failed`, with the reason. */
async function putAside(candidate: Candidate, problem: string, claims: Claims, context: JobContext): Promise<void> {
  const id = candidate.deferredId ?? newMailId()
  const claim = claims.take(join(candidate.directory, candidate.name), id)
  if (claim !== undefined) await giveUp(claim, problem, candidate.name, context)
}

async function giveUp(claim: Claim, problem: string, name: string | undefined, context: JobContext): Promise<void> {
  context.log.line('unfit', { id: claim.id, name, text: problem })
  await recordInTheEnd(claim, unfitState(claim.id, problem, name), { onDisk: false, due: 0 }, context)
}
