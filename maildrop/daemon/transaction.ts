/**
 * One transaction of a claimed message: made ready for a session, which may be some time before it is sent, and sent.
 */
import { outgoing, stableMessageId } from '../delivery/outgoing.ts'
import { type Parcel, type Report, unsendable } from '../delivery/parcel.ts'
import type { Session } from '../delivery/session.ts'
import { MAX_RECIPIENTS } from '../delivery/settle.ts'
import { MaildropError } from '../errors.ts'
import { markSent } from '../spool/claim.ts'
import { recordedTransactions } from '../spool/state.ts'
import type { Job, JobContext } from './job.ts'

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

function unfitReport(text: string): Report {
  return { refused: new Map(), end: { stage: 'local', code: undefined, enhanced: undefined, text, unfit: true } }
}
