/**
 * Delivery at once, while the caller waits: past the spool, the daemon and its retries. What the server does not take is not kept;
 * the caller is told who has the message and who has not. Captured mail (MAILDROP_CAPTURE) is captured here too.
 */
import type { MaildropConfig } from './config.ts'
import { MaildropError } from './errors.ts'
import type { Envelope } from './spool/format.ts'

export interface ImmediateMail {
  /** As in the spool. */
  readonly id: string
  readonly envelope: Envelope
  /** An RFC 5322 message with its Message-ID. */
  readonly content: Buffer
}

/**
 * Hands a message to the configuration's usual server, once.
 * @throws {MaildropError} NOT_DELIVERED, naming each recipient that the message did not reach, and why; the others have it
 */
export async function deliverNow(config: MaildropConfig, mail: ImmediateMail): Promise<void> {
  const { id, envelope, content } = mail
  const [{ openRelay, relayName }, { outgoing }, { MAX_RECIPIENTS, outcomesOf, replyText, stillPending }] =
    await Promise.all([import('./delivery/relay.ts'), import('./delivery/outgoing.ts'), import('./delivery/settle.ts')])
  const to = config.debugReceiver === undefined ? envelope.to : [config.debugReceiver]
  const missing = new Map<string, string>()
  const session = await openRelay(config)
    .open()
    .catch(cause => {
      throw notDelivered(relayName(config), new Map([['anybody', (cause as Error).message]]), cause)
    })
  try {
    for (let pending: readonly string[] = to, repeated = false; pending.length > 0; repeated = true) {
      const message = outgoing(
        { fd: -1, bytes: content, start: 0, size: content.length },
        { id, repeated, messageId: undefined, beforeDot: () => undefined },
      )
      if ('problem' in message) throw new Error(message.problem)
      const recipients = pending.slice(0, MAX_RECIPIENTS)
      const outcomes = outcomesOf(recipients, await session.send({ from: envelope.from, to: recipients }, message))
      const next = session.usable ? stillPending(pending, outcomes) : []
      for (const outcome of outcomes)
        if (outcome.verdict !== 'sent' && !next.includes(outcome.address))
          missing.set(outcome.address, replyText(outcome))
      for (const address of pending.slice(MAX_RECIPIENTS))
        if (!next.includes(address)) missing.set(address, 'not tried any more')
      pending = next
    }
  } finally {
    session.quit()
  }
  if (missing.size > 0) throw notDelivered(relayName(config), missing)
}

/** @param missing the reply for each recipient */
function notDelivered(relay: string, missing: ReadonlyMap<string, string>, cause?: unknown): MaildropError {
  const [first, ...others] = Array.from(missing, ([address, reply]) => `${address}: ${reply}`)
  const rest = others.length > 3 ? [...others.slice(0, 3), `and ${others.length - 3} more`] : others
  return new MaildropError(
    'NOT_DELIVERED',
    `${relay} did not take the message for ${[first, ...rest].join('; ')}. Nothing is kept of it; without immediate, what can be tried again is`,
    { cause },
  )
}
