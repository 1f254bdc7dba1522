/**
 * The steps of write.ts for many mails at a time, durably, without keeping this thread or Node's pool from anything else.
 */
import { type MaildropError, spoolError } from '../errors.ts'
import { invalidMailId, isMailId } from './id.ts'
import { heldDir } from './layout.ts'
import { askThread, type Request } from './writing-thread.ts'

export interface HeldMail {
  readonly id: string
  readonly bytes: Uint8Array
}

/** So many files are written one after the other; of more, a second thread writes half, since two syncs at a time share the journal. */
const ALONE = 4

/** What could not be done for some of the mails, by their ids. */
export type Failures = ReadonlyMap<string, MaildropError>

/**
 * Writes and fsyncs the held files of mails, and makes their names durable.
 * @returns SPOOL_FULL, SPOOL_DENIED, SPOOL_FAILED, INVALID_MAIL_ID by mail; those leave no file behind
 * @throws {MaildropError} the same, if it cannot be said of any
 */
export async function holdAll(spool: string, mails: readonly HeldMail[]): Promise<Failures> {
  const { usable, failed } = checked(mails)
  const middle = usable.length > ALONE ? usable.length >> 1 : usable.length
  // both have ended before anything is tried again: a late one would write into what has been published
  const lanes = await Promise.allSettled([
    done('write', holding(spool, usable.slice(0, middle)), failed, 0),
    middle < usable.length && done('write', holding(spool, usable.slice(middle)), failed, 1),
  ])
  for (const lane of lanes) if (lane.status === 'rejected') throw lane.reason
  return failed
}

function holding(spool: string, mails: readonly HeldMail[]): Request {
  const ends: number[] = []
  let length = 0
  for (const { bytes } of mails) {
    length += bytes.length
    ends.push(length)
  }
  // memory of its own, which is handed over
  const bytes = new Uint8Array(length)
  for (const [i, mail] of mails.entries()) bytes.set(mail.bytes, ends[i - 1] ?? 0)
  return { work: 'hold', ...places(spool), ids: mails.map(({ id }) => id), ends, bytes }
}

/**
 * Publishes held mails, durably; one that is not there has been published before.
 * @returns SPOOL_DENIED, SPOOL_FAILED, INVALID_MAIL_ID by mail
 * @throws {MaildropError} the same, if it cannot be said of any
 */
export async function releaseAll(spool: string, ids: readonly string[]): Promise<Failures> {
  const { usable, failed } = checked(ids.map(id => ({ id })))
  const request: Request = { work: 'release', ...places(spool), ids: usable.map(({ id }) => id) }
  await done('publish', request, failed, 0)
  return failed
}

const places = (spool: string) => ({ held: `${heldDir(spool)}/`, spool: `${spool}/` })

function checked<Mail extends { readonly id: string }>(mails: readonly Mail[]) {
  const failed = new Map<string, MaildropError>()
  const usable = mails.filter(({ id }) => {
    if (isMailId(id)) return true
    failed.set(id, invalidMailId(id))
    return false
  })
  return { usable, failed }
}

async function done(doing: string, request: Request, failed: Map<string, MaildropError>, lane: 0 | 1): Promise<void> {
  for (const { id, ...cause } of await askThread(request, lane)) {
    const error = spoolError(doing, request.held + (id ?? ''), Object.assign(new Error(cause.message), cause))
    if (id === undefined) throw error
    failed.set(id, error)
  }
}
