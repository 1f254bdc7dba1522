/**
 * What becomes of a message after a transaction: decided (delivery/settle.ts), logged, and written down; then it is gone, deferred, held or
 * given up, or the next transaction follows.
 */
import { delayAfter, INTERRUPTED_DELAYS, RETRY_DELAYS } from '../delivery/backoff.ts'
import { holdNotice } from '../delivery/notify.ts'
import { kindOf } from '../delivery/outcome.ts'
import { removeDelivered } from '../delivery/record.ts'
import { relayName } from '../delivery/relay.ts'
import {
  type Disposition,
  disposition,
  expireOutcomes,
  heldAsUnknown,
  isUncounted,
  outcomesOf,
  type RecipientOutcome,
  stateAfter,
  stillPending,
} from '../delivery/settle.ts'
import { MaildropError, messageOf } from '../errors.ts'
import { type Claim, holdsClaim } from '../spool/claim.ts'
import { type MailState, recordedTransactions, writeState } from '../spool/state.ts'
import { noteRefusals } from '../spool/untold.ts'
import { daemonStep } from '../steps.ts'
import { inTheEnd, recordInTheEnd } from './in-the-end.ts'
import { deferredPlace, type Job, type JobContext } from './job.ts'
import type { Attempt } from './transaction.ts'

export interface FinishedJob {
  readonly end: Disposition
  /** When the message is due again, in milliseconds since 1970. */
  readonly due: number
}

export type SettledJob = FinishedJob | { readonly end: 'go-on'; readonly job: Job }

/**
 * Writes down what happened. What the next transaction of the same attempt could make somebody forget or get twice is on
 * disk before this returns.
 * @param mayGoOn whether the connection can take another transaction
 * @returns the job to go on with, if recipients are pending
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
