/**
 * From what happened in an attempt to what the message is from now on: the pure half.
 *
 * A recipient is `waiting` until it is `sent` or `failed`, and never goes back. A message whose recipients are all sent is
 * removed; while one waits, or the sender has still to be told of a failure, it is deferred, unless the daemon has put it on
 * hold; when none waits and one has failed it is given up.
 */
import { type MailState, type RecipientState, recordedTransactions } from '../spool/state.ts'
import { type Event, isTooMany, type Verdict, verdictOf } from './outcome.ts'
import type { Report } from './session.ts'

/** What an attempt meant for one recipient. */
export interface RecipientOutcome {
  readonly address: string
  readonly verdict: Verdict | 'expired'
  readonly event: Event
}

/** What happened to each recipient that was tried. */
export function outcomesOf(recipients: readonly string[], report: Report): RecipientOutcome[] {
  return recipients.map(address => {
    const event = report.refused.get(address) ?? report.end
    return { address, event, verdict: verdictOf(event) }
  })
}

/** Most recipients of one transaction: as many as every server has to take (RFC 5321 section 4.5.3.1.8). */
export const MAX_RECIPIENTS = 100

/**
 * The recipients that the same attempt has still to try, in a transaction of their own: those that were not in this one,
 * and those that were too many for the server, if it took others. None when the trouble is not these recipients' own.
 * @param pending the recipients that were to be tried before this transaction, those in it first
 */
export function stillPending(pending: readonly string[], outcomes: readonly RecipientOutcome[]): string[] {
  const verdicts = new Set(outcomes.map(({ verdict }) => verdict))
  if (STOPPING.some(verdict => verdicts.has(verdict))) return []
  const others = pending.slice(outcomes.length)
  const tookSome = outcomes.some(({ event }) => event.stage === 'dot')
  const tooMany = outcomes.filter(({ verdict, event }) => verdict === 'defer-recipient' && isTooMany(event))
  return tookSome ? [...others, ...tooMany.map(({ address }) => address)] : others
}

const STOPPING: readonly Verdict[] = ['defer-message', 'defer-server', 'unknown']

/**
 * Recipients that would be deferred although the message is too old become `expired`.
 * @param maxAge in seconds
 */
export function expireOutcomes(
  outcomes: readonly RecipientOutcome[],
  state: MailState,
  maxAge: number,
  now: number,
): RecipientOutcome[] {
  if (now - Date.parse(state.arrived) < maxAge * 1000) return [...outcomes]
  return outcomes.map(outcome =>
    statusAfter(outcome.verdict) === 'waiting' ? { ...outcome, verdict: 'expired' } : outcome,
  )
}

/**
 * True for an attempt that is not counted, because the server could not be used: it closed its service or wants a login first.
 * Of a message that meets that again while the server is known to work the next attempt counts, since it may be the reason.
 * @param isProbe whether the server was known not to be usable before
 */
export function isUncounted(state: MailState, outcomes: readonly RecipientOutcome[], isProbe: boolean): boolean {
  const isFirst = state.attempts === 0 && recordedTransactions(state) === 0
  return (isProbe || isFirst) && outcomes.some(({ verdict }) => verdict === 'defer-server')
}

/**
 * The state after a transaction.
 * @param goesOn true if it was not the last one of its attempt, or that is not counted
 */
export function stateAfter(
  state: MailState,
  outcomes: readonly RecipientOutcome[],
  now: number,
  goesOn = false,
): MailState {
  const byAddress = new Map(outcomes.map(outcome => [outcome.address, outcome]))
  const at = new Date(now).toISOString()
  const recipients = state.recipients.map((recipient): RecipientState => {
    const outcome = byAddress.get(recipient.address)
    if (outcome === undefined || recipient.status !== 'waiting') return recipient
    const { address } = recipient
    const { stage, code, enhanced, text } = outcome.event
    return {
      address,
      status: statusAfter(outcome.verdict),
      reply: replyText(outcome),
      stage,
      ...(code === undefined ? {} : { code }),
      ...(enhanced === undefined ? {} : { enhanced }),
      text,
      at,
      ...(outcome.verdict === 'expired' ? { expired: true } : {}),
    }
  })
  const { held: _held, ...rest } = state
  const transactions = recordedTransactions(state) + 1
  return { ...rest, attempts: state.attempts + (goesOn ? 0 : 1), transactions, recipients }
}

/** The state of a message of which nobody knows whether the server has it, if somebody is to be asked. */
export function heldAsUnknown(state: MailState, outcomes: readonly RecipientOutcome[]): MailState {
  const unknown = outcomes.find(({ verdict }) => verdict === 'unknown')
  if (unknown === undefined) return state
  const held = `the server may have taken it (${unknown.event.text}); release it to send it again, or delete it`
  return { ...state, held }
}

export type Disposition = 'remove' | 'defer' | 'hold' | 'fail'

/** What is to be done with the message. */
export function disposition(state: MailState): Disposition {
  const { recipients } = state
  if (state.held !== undefined && recipients.some(({ status }) => status === 'waiting')) return 'hold'
  if (state.noticeOwed || recipients.some(({ status }) => status === 'waiting')) return 'defer'
  return recipients.length > 0 && recipients.every(({ status }) => status === 'sent') ? 'remove' : 'fail'
}

function statusAfter(verdict: RecipientOutcome['verdict']): RecipientState['status'] {
  switch (verdict) {
    case 'sent':
      return 'sent'
    case 'fail-recipient':
    case 'fail-message':
    case 'expired':
      return 'failed'
    case 'defer-recipient':
    case 'defer-message':
    case 'defer-server':
    case 'unknown':
      return 'waiting'
  }
}

/** The reply as it is kept, for people: code, enhanced code, text and stage. */
export function replyText({ event, verdict }: RecipientOutcome): string {
  const reply = [event.code, event.enhanced, event.text].filter(part => part !== undefined && part !== '').join(' ')
  return `${verdict === 'expired' ? 'too old to be tried again; ' : ''}${reply} (${event.stage})`
}
