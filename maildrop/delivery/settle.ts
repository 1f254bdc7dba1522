/**
 * From what happened in an attempt to what the message is from now on: the pure half.
 *
 * A recipient is `waiting` until it is `sent` or `failed`, and never goes back. A message whose recipients are all sent is
 * removed; while one waits it is deferred; when none waits and one has failed it is given up.
 */
import type { MailState, RecipientState } from '../spool/state.ts'
import { MAX_AGE } from './backoff.ts'
import { type Event, type Verdict, verdictOf } from './outcome.ts'
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

/** Recipients that would be deferred although the message is too old become `expired`. */
export function expireOutcomes(
  outcomes: readonly RecipientOutcome[],
  state: MailState,
  now: number,
): RecipientOutcome[] {
  if (now - Date.parse(state.arrived) < MAX_AGE * 1000) return [...outcomes]
  return outcomes.map(outcome =>
    statusAfter(outcome.verdict) === 'waiting' ? { ...outcome, verdict: 'expired' } : outcome,
  )
}

/** The state after an attempt. */
export function stateAfter(state: MailState, outcomes: readonly RecipientOutcome[], now: number): MailState {
  const byAddress = new Map(outcomes.map(outcome => [outcome.address, outcome]))
  const at = new Date(now).toISOString()
  const recipients = state.recipients.map((recipient): RecipientState => {
    const outcome = byAddress.get(recipient.address)
    if (outcome === undefined || recipient.status !== 'waiting') return recipient
    return { ...recipient, status: statusAfter(outcome.verdict), reply: replyText(outcome), at }
  })
  const { held: _held, ...rest } = state
  return { ...rest, attempts: state.attempts + 1, recipients }
}

/** What is to be done with the message. */
export function disposition(state: MailState): 'remove' | 'defer' | 'fail' {
  const { recipients } = state
  if (recipients.some(({ status }) => status === 'waiting')) return 'defer'
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

function replyText({ event, verdict }: RecipientOutcome): string {
  const reply = [event.code, event.enhanced, event.text].filter(part => part !== undefined && part !== '').join(' ')
  return `${verdict === 'expired' ? 'too old to be tried again; ' : ''}${reply} (${event.stage})`
}
