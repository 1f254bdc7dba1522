/**
 * Finding a message by its Message-ID.
 *
 * A mail's id, which is its name in the spool, tells its Message-ID: where we make that, it is `<id@domain>`; one that the message
 * brought is in the id as a hash. So nothing has to be kept about messages, and to find one only names are read.
 *
 *     <new id>-<database>            Message-ID: <that@domain>
 *     <new id>-<hash>-<database>     any other
 */
import { createHash } from 'node:crypto'
import type { Database } from '../lib/index.ts'
import { findById, listSpool, type QueuedMail } from '../maildrop/index.ts'
import { MAIL_ROWS } from './outgoing-mail.ts'

export type MailStatus = QueuedMail | { readonly status: 'publishing' | 'unknown' }

/** The id of a mail. */
export function nameMail(newId: string, messageId: string, database: string): string {
  const id = `${newId}-${database}`
  return leftOf(messageId) === id ? id : `${newId}-${hashOf(messageId)}-${database}`
}

export async function listMail(spools: readonly string[]): Promise<QueuedMail[]> {
  return (await Promise.all(spools.map(listSpool))).flat()
}

/** @param messageId with or without its angle brackets */
export async function statusOfMail(
  database: Database,
  spools: readonly string[],
  messageId: string,
): Promise<MailStatus> {
  const bracketed = messageId.startsWith('<') ? messageId : `<${messageId}>`
  const own = leftOf(bracketed)
  const end = `-${hashOf(bracketed)}-${database.id}`
  const isWanted = (id: string): boolean => id === own || id.endsWith(end)
  const found = await findById(spools, isWanted)
  if (found !== undefined) return found
  for await (const [key] of database.outbox.outboxRows(MAIL_ROWS))
    if (isWanted(key.slice(MAIL_ROWS.length))) return { status: 'publishing' }
  // It may have got from there to the spool between the two looks.
  return (await findById(spools, isWanted)) ?? { status: 'unknown' }
}

function leftOf(messageId: string): string {
  return /^<([^@]*)@/.exec(messageId)?.[1] ?? ''
}

function hashOf(messageId: string): string {
  return createHash('sha256').update(messageId).digest('hex').slice(0, 20)
}
