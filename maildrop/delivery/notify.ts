/**
 * Telling the sender of a message that failed: once for each failure, whatever moment the process dies at.
 *
 *     held notice written → state written, which names the notice → notice released → the message moves on
 *
 * The state is the decision. Before it is written the held notice stands for nothing: the attempt is made again and writes it
 * anew, or has another end, in which case it is discarded. After it the notice is released, by whoever goes on, and that is a
 * rename, which happens once. A notice that cannot be written (a full disk) is owed: the message stays deferred, with
 * nobody left to send it to, until it can.
 */
import { createHash } from 'node:crypto'
import { formatMailFile } from '../spool/format.ts'
import { isMailId } from '../spool/id.ts'
import type { ReadyMail } from '../spool/inspect.ts'
import { type MailState, recordedTransactions } from '../spool/state.ts'
import { discardHeld, releaseHeld, syncHeld, syncSpool, writeHeld } from '../spool/write.ts'
import { daemonStep } from '../steps.ts'
import { composeNotice, isAutomatic } from './notice.ts'
import { splitMessage } from './outgoing.ts'

/**
 * Holds a notice for what has failed in a message and was not told yet.
 * @param server the host that refused it
 * @returns the state that names the notice; undefined if there is nothing to tell, or nobody
 * @throws {MaildropError} SPOOL_FULL, SPOOL_DENIED, SPOOL_FAILED
 */
export async function holdNotice(
  spool: string,
  mail: ReadyMail,
  state: MailState,
  server: string,
): Promise<MailState | undefined> {
  const failed = untold(state)
  if (failed.length === 0 || state.from === '') return undefined
  const original = splitMessage(mail)
  if (isAutomatic(original.header)) return undefined
  const { id, from, arrived } = state
  const noticeId = noticeIdOf(id, recordedTransactions(state))
  const content = await composeNotice({ noticeId, id, from, arrived, recipients: failed, server, original }, new Date())
  await writeHeld(spool, noticeId, formatMailFile({ id: noticeId, from: '', to: [from] }, content))
  await syncHeld(spool)
  daemonStep('notice-held', id)
  const { noticeOwed: _owed, ...rest } = state
  const recipients = state.recipients.map(recipient =>
    failed.includes(recipient) ? { ...recipient, notice: noticeId } : recipient,
  )
  return { ...rest, recipients }
}

/** Publishes the notices that a state on disk names; those that have been are not published again. */
export async function releaseNotices(spool: string, state: MailState): Promise<void> {
  const ids = new Set(state.recipients.flatMap(({ notice }) => notice ?? []))
  for (const id of ids) {
    if (!(await releaseHeld(spool, id))) continue
    await syncSpool(spool)
    daemonStep('notice-released', state.id)
  }
}

/**
 * Removes the notice of a transaction of which nothing was written down.
 * @param state what is on disk about the message
 */
export async function discardNotice(spool: string, id: string, state: MailState | undefined): Promise<void> {
  await discardHeld(spool, noticeIdOf(id, (state === undefined ? 0 : recordedTransactions(state)) + 1))
}

function untold(state: MailState): MailState['recipients'] {
  return state.recipients.filter(({ status, notice }) => status === 'failed' && notice === undefined)
}

/** The same whenever the same transaction of the same message is repeated. */
function noticeIdOf(id: string, transaction: number): string {
  return `${noticeStem(id)}-n${transaction}`
}

/** What the ids of all notices about a message begin with. */
export function noticeStem(id: string): string {
  return isMailId(`${id}-n${Number.MAX_SAFE_INTEGER}`) ? id : createHash('sha256').update(id).digest('hex').slice(0, 40)
}

/** The stem of the id of a notice; undefined for any other id. */
export function stemOf(noticeId: string): string | undefined {
  return /^(.+)-n\d+$/.exec(noticeId)?.[1]
}
