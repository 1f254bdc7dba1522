/**
 * `maildropctl queue`: what is in the spools, one message after the other, so that a hundred thousand take no memory.
 */
import type { MaildropConfig } from '../config.ts'
import { formatDuration } from '../duration.ts'
import { selectMail } from '../spool/filter.ts'
import type { QueuedMail } from '../spool/listing.ts'
import { type ChoiceOptions, filterOf, isChoice } from './choice.ts'
import { askStatus, runningDaemon, troublesOf } from './daemon-status.ts'
import { messages, pour, printable, say } from './output.ts'

export interface QueueOptions extends ChoiceOptions {
  readonly json: boolean
  readonly limit: number | undefined
}

/** Messages that are shown to people who name no limit, and recipients of each. */
const LIMIT = 200
const RECIPIENTS = 10

type Place = Pick<MaildropConfig, 'spools' | 'pidFile'>

export async function queue(config: Place, options: QueueOptions): Promise<void> {
  const mails = selectMail(config.spools, filterOf(options))
  const limit = (options.limit ?? (options.json ? 0 : LIMIT)) || Number.POSITIVE_INFINITY
  if (options.json) return await printJson(mails, limit)
  let count = 0
  for await (const mail of mails) {
    if (count === limit) return say(`the first ${messages(count)}; there are more: --limit 0 shows all`)
    const text = rowOf(mail, Date.now())
    if (!(await pour(count === 0 ? `${rowHead()}\n${text}` : text))) return
    count += 1
  }
  if (count > 0) return say([messages(count), ...(await troubles(config))].join('; '))
  const spools = config.spools.join(', ')
  say(isChoice(options) ? `no message in ${spools} is like that` : `the queue is empty (${spools})`)
}

/** Why mail waits that no server has been asked for yet. */
async function troubles(config: Place): Promise<string[]> {
  const said = runningDaemon(config) === undefined ? undefined : await askStatus(config)
  return said !== undefined && 'relay' in said ? troublesOf(said).map(printable) : []
}

/** An array with one message per line. */
async function printJson(mails: AsyncIterable<QueuedMail>, limit: number): Promise<void> {
  let count = 0
  for await (const mail of mails) {
    if (count === limit) break
    if (!(await pour(`${count === 0 ? '[' : ','}\n${JSON.stringify(mail)}`))) return
    count += 1
  }
  await pour(count === 0 ? '[]\n' : '\n]\n')
}

function rowHead(): string {
  return columns('id', 'state', 'age', 'size', 'tries', 'next', 'sender')
}

/** A line for the message, and one for each recipient with the last reply. */
export function rowOf(mail: QueuedMail, now: number): string {
  const shown = mail.recipients.slice(0, RECIPIENTS).map(({ address, status, reply }) => {
    const said = reply === undefined || status === 'sent' ? status : `${status}: ${reply}`
    return printable(`${address} (${said})`)
  })
  const more = mail.recipients.length - shown.length
  const lines = [
    columns(
      printable(mail.id),
      mail.status,
      formatDuration((now - Date.parse(mail.arrived)) / 1000),
      String(mail.size),
      String(mail.attempts),
      mail.next === undefined ? '' : formatDuration((Date.parse(mail.next) - now) / 1000),
      mail.from === undefined ? '' : printable(mail.from || '<>'),
    ),
    ...(mail.problem === undefined ? [] : [`    ${printable(mail.problem)}`]),
    ...shown.map(text => `    ${text}`),
    ...(more > 0 ? [`    and ${more} more; see maildropctl show`] : []),
  ]
  return `${lines.join('\n')}\n`
}

/** That of an id is of one that an application gave. */
const WIDTHS = [54, 9, 4, 8, 5, 5, 0]

function columns(...cells: string[]): string {
  return cells
    .map((cell, i) => (i >= 2 && i <= 5 ? cell.padStart(WIDTHS[i]!) : cell.padEnd(WIDTHS[i]!)))
    .join('  ')
    .trimEnd()
}
