/**
 * One attempt at one message: claim it, send it, write down what happened. The stages of `deliver` are its life.
 *
 * Whatever fails here concerns this message only; the connection is the caller's.
 */
import { closeSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaildropConfig } from '../config.ts'
import { delayAfter, INTERRUPTED_DELAYS, RETRY_DELAYS } from '../delivery/backoff.ts'
import { holdNotice } from '../delivery/notify.ts'
import { kindOf } from '../delivery/outcome.ts'
import { outgoing, stableMessageId } from '../delivery/outgoing.ts'
import { type Parcel, type Report, unsendable } from '../delivery/parcel.ts'
import { record, removeDelivered } from '../delivery/record.ts'
import { relayName } from '../delivery/relay.ts'
import type { Session } from '../delivery/session.ts'
import {
  type Disposition,
  disposition,
  expireOutcomes,
  heldAsUnknown,
  isUncounted,
  MAX_RECIPIENTS,
  outcomesOf,
  type RecipientOutcome,
  stateAfter,
  stillPending,
} from '../delivery/settle.ts'
import { MaildropError, messageOf } from '../errors.ts'
import { type Claim, type Claims, holdsClaim, isSameFile, markSent, moveClaim } from '../spool/claim.ts'
import { newMailId } from '../spool/id.ts'
import type { ReadyMail } from '../spool/inspect.ts'
import { deferredDir, deferredName } from '../spool/layout.ts'
import {
  idOfFile,
  type MailState,
  newState,
  readState,
  recordedTransactions,
  unfitState,
  waitingRecipients,
  writeState,
} from '../spool/state.ts'
import { noteRefusals } from '../spool/untold.ts'
import { daemonStep } from '../steps.ts'
import type { Candidate } from './intake.ts'
import type { Log } from './log.ts'

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
export interface JobContext {
  readonly config: MaildropConfig
  readonly log: Log
  /** True once the daemon is ending, when nothing is to be waited for. */
  stopping(): boolean
  /** Takes over what is going on beside the work; resolves when there is room for more of that. */
  park(work: Promise<void>): Promise<void>
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

/** A transaction: whom it was for, what became of it, and what it took, in milliseconds. */
export interface Attempt extends Report {
  readonly recipients: readonly string[]
  readonly messageId: string | undefined
  /** Opening the connection, if it was opened for this message. */
  readonly connect: number
  readonly transfer: number
  /** True if the server was known not to be usable. */
  readonly isProbe: boolean
}

/** A job's next transaction, made ready for one session. */
export interface Load {
  readonly session: Session
  readonly recipients: readonly string[]
  readonly messageId: string | undefined
  readonly parcel: Parcel
  /** Whether the claim was lost when the final dot was to be sent. */
  readonly claim: { readonly lost: boolean }
}

/**
 * Makes a claimed message ready to be sent to as many of its pending recipients as one transaction may have. From the final
 * dot on the journal says that it may have been delivered.
 */
export async function loadJob(job: Job, session: Session, { config }: JobContext): Promise<Load> {
  const fate = { lost: false }
  const beforeDot = (): void => {
    try {
      markSent(job.claim, recordedTransactions(job.state) + 1)
    } catch (error) {
      fate.lost = error instanceof MaildropError && error.code === 'CLAIM_LOST'
      throw error
    }
  }
  const { from } = job.mail.envelope
  const messageId = config.addMessageId ? stableMessageId(job.claim.id, from) : undefined
  const { id } = job.claim
  const message = outgoing(job.mail, { id, repeated: recordedTransactions(job.state) > 0, messageId, beforeDot })
  if ('problem' in message) {
    const parcel = unsendable(unfitReport(message.problem))
    return { session, recipients: job.pending, messageId: undefined, parcel, claim: fate }
  }
  const receiver = config.debugReceiver
  const recipients = job.pending.slice(0, receiver ? undefined : MAX_RECIPIENTS)
  const parcel = await session.prepare({ from, to: receiver ? [receiver] : recipients }, message)
  return { session, recipients, messageId: message.messageId, parcel, claim: fate }
}

/**
 * Sends what `loadJob` has made ready.
 * @param connection milliseconds that opening it took, 0 if it was open; and whether the server was known not to be usable
 * @param following is asked when the message goes out: what is to be sent next over this session
 * @returns undefined if the claim was lost, in which case the message has not been sent and is another daemon's
 */
export async function sendLoad(
  load: Load,
  connection: Pick<Attempt, 'connect' | 'isProbe'>,
  { config }: JobContext,
  following?: () => Parcel | undefined,
): Promise<Attempt | undefined> {
  const start = performance.now()
  const report = await load.parcel.send(following)
  if (load.claim.lost) return undefined
  const transfer = performance.now() - start
  const receiver = config.debugReceiver
  const refused: Report['refused'] = receiver ? new Map() : report.refused
  const end = receiver ? (report.refused.get(receiver) ?? report.end) : report.end
  return { refused, end, recipients: load.recipients, messageId: load.messageId, transfer, ...connection }
}

/**
 * Writes down what happened. What the next transaction of the same attempt could make somebody forget or get twice is on
 * disk before this returns.
 * @param mayGoOn whether the connection can take another transaction
 * @returns the job to go on with if recipients are pending; or when the message is due again, in milliseconds since 1970
 */
export async function settleJob(
  job: Job,
  attempt: Attempt,
  mayGoOn: boolean,
  context: JobContext,
): Promise<SettledJob> {
  const now = Date.now()
  const { end } = attempt
  if (end.stage === 'dot' && end.code !== undefined && end.code < 300) daemonStep('accepted', job.claim.id)
  const { maxAge, onUnknown } = context.config
  const found = outcomesOf(attempt.recipients, attempt)
  if (isDeliveredAtOnce(job, found)) {
    logOutcomes(job.state, found, job.state.attempts + 1, attempt, context)
    await inTheEnd(job.claim, () => removeDelivered(job.claim), context)
    return { end: 'remove', due: now }
  }
  const isAsked = onUnknown === 'ask' && found.some(({ verdict }) => verdict === 'unknown')
  const outcomes = isAsked ? found : expireOutcomes(found, job.state, maxAge, now)
  const pending = stillPending(job.pending, outcomes)
  // Whom this attempt has not reached is tried next, unless it got nowhere: that would be repeated without end.
  const gotSomewhere = outcomes.some(({ verdict }) => verdict === 'sent' || verdict.startsWith('fail'))
  const goesOn = pending.length > 0 && (mayGoOn || gotSomewhere)
  const isFree = isUncounted(job.state, outcomes, attempt.isProbe)
  const after = stateAfter(job.state, outcomes, now, goesOn || isFree)
  const state = isAsked ? heldAsUnknown(after, outcomes) : after
  const news = attempt.isProbe ? outcomes.filter(outcome => !isAsBefore(outcome, job.state)) : outcomes
  logOutcomes(state, news, job.state.attempts + 1, attempt, context)
  if (goesOn && mayGoOn && (await isWritten(job.claim, state))) {
    const origin = deferredPlace(job.claim.spool, state.id)
    return { end: 'go-on', job: { ...job, state, pending, known: true, origin } }
  }
  const delay = isFree
    ? delayAfter(INTERRUPTED_DELAYS, recordedTransactions(state))
    : delayAfter(RETRY_DELAYS, Math.max(state.attempts, 1))
  const due = goesOn && gotSomewhere ? now : now + delay * 1000
  return await finish(job, state, due, context)
}

/** What a probe hears that the message has met before is not news, for days perhaps. */
function isAsBefore({ address, verdict, event }: RecipientOutcome, { recipients }: MailState): boolean {
  const before = recipients.find(recipient => recipient.address === address)
  return verdict === 'defer-server' && before?.reply !== undefined && kindOf(before) === kindOf(event)
}

/** True if everybody has got a message of which nothing has been written down: nothing has to be known of it any more. */
function isDeliveredAtOnce(job: Job, outcomes: readonly RecipientOutcome[]): boolean {
  if (job.known || outcomes.length !== job.pending.length) return false
  for (const { verdict } of outcomes) if (verdict !== 'sent') return false
  return true
}

/** Does what is left to do with a message of which nobody waits: its sender is told, and it is given up. */
export function finishJob(job: Job, context: JobContext): Promise<FinishedJob> {
  return finish(job, job.state, Date.now() + NOTICE_DELAY, context)
}

/** Milliseconds until it is tried again to write a notice. */
const NOTICE_DELAY = 60_000

async function finish(job: Job, settled: MailState, due: number, context: JobContext): Promise<FinishedJob> {
  const state = await tellSender(job, settled, context)
  if (state.held !== undefined) context.log.line('held', { id: state.id, text: state.held })
  await recordInTheEnd(job.claim, state, { onDisk: job.known, due }, context)
  return { end: disposition(state), due }
}

/** The state that names the notice about what has failed, or says that one is owed. */
async function tellSender({ claim, mail }: Job, state: MailState, { config, log }: JobContext): Promise<MailState> {
  const { noticeOwed: _owed, ...rest } = state
  if (!config.bounce || !holdsClaim(claim)) return rest
  try {
    const told = await holdNotice(claim.spool, mail, rest, config.smtp.host)
    if (told !== undefined) log.line('notice', { id: state.id, to: state.from })
    return told ?? rest
  } catch (error) {
    log.line('notice-failed', { id: state.id, to: state.from, text: messageOf(error) })
    return error instanceof MaildropError ? { ...rest, noticeOwed: true } : rest
  }
}

/** Writes the state, and whom to tell of it; false if that is impossible at the moment. */
async function isWritten(claim: Claim, state: MailState): Promise<boolean> {
  try {
    await writeState(claim, state)
    await noteRefusals(claim.spool, state)
    return true
  } catch {
    return false
  }
}

async function recordInTheEnd(
  claim: Claim,
  state: MailState,
  known: { readonly onDisk: boolean; readonly due: number },
  context: JobContext,
): Promise<void> {
  await inTheEnd(claim, () => record(claim, state, known), context)
}

/**
 * While it is impossible to write something down (a full disk), it is tried again every second: until it is written, the
 * message stays claimed and goes to nobody. The connection does not wait for that.
 */
async function inTheEnd(claim: Claim, write: () => unknown, { log, stopping, park }: JobContext): Promise<void> {
  let last = ''
  const mayFail = (error: unknown): boolean => {
    const text = messageOf(error)
    if (text !== last) log.line('record-failed', { id: claim.id, text })
    last = text
    return stopping() || (error instanceof MaildropError && error.code === 'CLAIM_LOST')
  }
  const tryOn = async (): Promise<void> => {
    for (;;) {
      await sleep(1000)
      try {
        return void (await write())
      } catch (error) {
        if (mayFail(error)) return
      }
    }
  }
  try {
    await write()
  } catch (error) {
    if (!mayFail(error)) await park(tryOn())
  }
}

/** Where a message comes from, under the id it has now. */
function placeOf({ spool, deferredId }: Candidate, id: string): string {
  return deferredId === undefined ? `${spool}/${id}` : deferredPlace(spool, id)
}

function deferredPlace(spool: string, id: string): string {
  return join(deferredDir(spool), deferredName(id, Date.now()))
}

export interface FinishedJob {
  readonly end: Disposition
  readonly due: number
}

export type SettledJob = FinishedJob | { readonly end: 'go-on'; readonly job: Job }

/** Puts a claimed message back as if nothing had been tried. */
export async function giveBack(job: Job, context: JobContext): Promise<void> {
  await inTheEnd(job.claim, () => moveClaim(job.claim, job.origin), context)
}

/** Closes the message's file. */
export function closeJob(job: Job): void {
  closeSync(job.mail.fd)
}

function unfitReport(text: string): Report {
  return { refused: new Map(), end: { stage: 'local', code: undefined, enhanced: undefined, text, unfit: true } }
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

function logOutcomes(
  state: MailState,
  outcomes: readonly RecipientOutcome[],
  number: number,
  { messageId, connect, transfer }: Attempt,
  { config, log }: JobContext,
): void {
  const delay = Date.now() - Date.parse(state.arrived)
  for (const { address, verdict, event } of outcomes) {
    log.line(verdict, {
      id: state.id,
      to: address,
      receiver: config.debugReceiver,
      from: state.from,
      relay: relayName(config),
      stage: event.stage,
      code: event.code,
      enhanced: event.enhanced,
      text: event.text,
      attempt: number,
      delay: seconds(delay),
      in_spool: seconds(delay - connect - transfer),
      connect: seconds(connect),
      transfer: seconds(transfer),
      message_id: messageId || undefined,
    })
  }
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms)) / 1000
}
