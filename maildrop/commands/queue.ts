/**
 * `maildropctl queue`: what is in the spools.
 */
import Table from 'cli-table3'
import type { MaildropConfig } from '../config.ts'
import { listSpool, type QueuedMail } from '../spool/listing.ts'
import { say } from './output.ts'

export async function queue(config: MaildropConfig, options: { readonly json: boolean }): Promise<void> {
  const mails = (await Promise.all(config.spools.map(listSpool))).flat()
  if (options.json) return say(JSON.stringify(mails, undefined, 2))
  if (mails.length === 0) return say(`the queue is empty (${config.spools.join(', ')})`)
  const table = new Table({
    head: ['id', 'state', 'age', 'size', 'tries', 'next', 'from', 'recipients'],
    style: { head: [], border: [] },
    chars: PLAIN,
  })
  for (const mail of mails) table.push(rowOf(mail, Date.now()))
  say(table.toString())
  say(`${mails.length} ${mails.length === 1 ? 'message' : 'messages'}`)
}

function rowOf(mail: QueuedMail, now: number): string[] {
  const recipients = mail.recipients.map(({ address, status, reply }) =>
    printable(reply === undefined || status === 'sent' ? `${address} (${status})` : `${address} (${status}: ${reply})`),
  )
  return [
    printable(mail.id),
    mail.status,
    duration(now - Date.parse(mail.arrived)),
    String(mail.size),
    String(mail.attempts),
    mail.next === undefined ? '' : duration(Date.parse(mail.next) - now),
    mail.from === undefined ? '' : printable(mail.from || '<>'),
    [...(mail.problem === undefined ? [] : [printable(mail.problem)]), ...recipients].join('\n'),
  ]
}

/** Text of files and servers must not control the terminal. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
}

function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  if (seconds < 120) return `${seconds}s`
  if (seconds < 7200) return `${Math.round(seconds / 60)}m`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)}h` : `${Math.round(seconds / 86_400)}d`
}

const PLAIN = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: ' ',
}
