/**
 * The failure notice: a delivery status notification (RFC 3464) that tells a sender who could not be reached, and why.
 *
 *     multipart/report; report-type=delivery-status        From MAILER-DAEMON, Auto-Submitted: auto-replied
 *       text/plain                                         for people
 *       message/delivery-status                            for programs: one block of fields per recipient
 *       message/rfc822 or text/rfc822-headers              the message, if it is small and plain, or its header
 *
 * Addresses that are not ASCII are written as RFC 6533 section 3 wants them in such a part, so a notice is always ASCII but for
 * the address it goes to. What servers and messages say is text here: it cannot add a field, a header or a part.
 */
import { isIP } from 'node:net'
import { hostname } from 'node:os'
import MimeNode from 'nodemailer/lib/mime-node'
import type { RecipientState } from '../spool/state.ts'

/** What a notice is about. */
export interface Failure {
  /** The id of the notice itself. */
  readonly noticeId: string
  /** The id of the message that failed. */
  readonly id: string
  /** The message's sender. */
  readonly from: string
  /** When the message came to the spool, ISO 8601. */
  readonly arrived: string
  /** The recipients that have failed. */
  readonly recipients: readonly RecipientState[]
  /** The server that refused them. */
  readonly server: string
  /** The message's header, without Bcc, and all of it if it is small. */
  readonly original: { readonly header: Buffer; readonly whole: Buffer | undefined }
}

/** Largest part of a header that is returned. */
const MAX_HEADER = 16 * 1024
/** RFC 5322 section 2.1.1. */
const MAX_LINE = 998

/**
 * True for a message that nobody is to be notified about: a notice, or another automatic answer (RFC 3834 section 2). A notice
 * about a notice could go on for ever.
 */
export function isAutomatic(header: Buffer): boolean {
  const submitted = fieldOf(header, 'auto-submitted')?.toLowerCase()
  if (submitted !== undefined && !/^no\b/.test(submitted)) return true
  return fieldOf(header, MARK) !== undefined || /^multipart\/report\b/i.test(fieldOf(header, 'content-type') ?? '')
}

const MARK = 'x-maildrop-notice'

/** @returns the message, RFC 5322, lines ended by CRLF */
export async function composeNotice(failure: Failure, now: Date): Promise<Buffer> {
  const host = reportingHost()
  const { header, whole } = failure.original
  const root = new MimeNode('multipart/report; report-type=delivery-status', { newline: 'win' })
  root.setHeader({
    From: { name: 'Mail Delivery System', address: `MAILER-DAEMON@${host}` },
    To: `<${failure.from}>`,
    Subject: 'Your message could not be delivered',
    Date: rfc5322(now),
    'Message-ID': `<${failure.noticeId}@${host}>`,
    'Auto-Submitted': 'auto-replied',
    'X-Maildrop-Notice': failure.id,
  })
  const answered = /^<[!-;=?-~]+>$/.exec(fieldOf(header, 'message-id') ?? '')?.[0]
  if (answered !== undefined) root.setHeader({ 'In-Reply-To': answered, References: answered })
  root.createChild('text/plain; charset=utf-8').setContent(textFor(failure, host))
  raw(root, 'message/delivery-status', Buffer.from(statusFields(failure, host)))
  if (whole !== undefined && isPlain(whole)) raw(root, 'message/rfc822', withCrlf(whole))
  else raw(root, 'text/rfc822-headers', withCrlf(wholeLines(header)))
  return await root.build()
}

/** A part that is written as it is; a header that is not plain text is made so (RFC 6522 section 4). */
function raw(root: MimeNode, type: string, content: Buffer): void {
  if (isPlain(content)) {
    root.createChild(type).setRaw(Buffer.concat([Buffer.from(`Content-Type: ${type}\r\n\r\n`), content]))
    return
  }
  const node = root.createChild(type)
  node.setHeader('Content-Transfer-Encoding', 'quoted-printable')
  node.setContent(content)
}

function textFor({ from, arrived, recipients, original }: Failure, host: string): string {
  const subject = fieldOf(original.header, 'subject')
  const about = [
    ...(subject === undefined ? [] : [`  Subject: ${plain(subject).slice(0, 200)}`]),
    `  From:    ${from}`,
    `  Handed over: ${rfc5322(new Date(arrived))}`,
  ]
  const failed = recipients.map(
    recipient => `  ${recipient.address}\n      ${plain(recipient.reply ?? 'no reason is known')}\n`,
  )
  return `This is the mail system at ${host}.

Your message could not be delivered to the recipients below. They are not
going to be tried again. Recipients that are not named here are not concerned.

${failed.join('\n')}
The message was:

${about.join('\n')}
`
}

/** RFC 3464 section 2: fields about the message, then a block about each recipient. */
function statusFields({ id, arrived, recipients, server }: Failure, host: string): string {
  const blocks = [
    [`Reporting-MTA: dns; ${host}`, `X-Maildrop-Id: ${id}`, `Arrival-Date: ${rfc5322(new Date(arrived))}`],
    ...recipients.map(recipient => recipientFields(recipient, server)),
  ]
  return blocks.map(fields => fields.map(field => `${fold(field)}\r\n`).join('')).join('\r\n')
}

function recipientFields(recipient: RecipientState, server: string): string[] {
  const { address, code, text, at } = recipient
  const isAnswer = code !== undefined
  return [
    `Final-Recipient: ${typedAddress(address)}`,
    'Action: failed',
    `Status: ${statusOf(recipient)}`,
    ...(isAnswer ? [`Remote-MTA: dns; ${isIP(server) ? `[${server}]` : server}`] : []),
    `Diagnostic-Code: ${isAnswer ? 'smtp' : 'x-maildrop'}; ${ascii(diagnosis(recipient) ?? text ?? 'no reason is known')}`,
    ...(at === undefined ? [] : [`Last-Attempt-Date: ${rfc5322(new Date(at))}`]),
  ]
}

function diagnosis({ code, enhanced, text }: RecipientState): string | undefined {
  return code === undefined ? undefined : [code, enhanced, text].filter(Boolean).join(' ')
}

/** RFC 3463. A failure is permanent (class 5), unless it only lasted too long (4.4.7). */
function statusOf({ code, enhanced, expired }: RecipientState): string {
  if (expired) return '4.4.7'
  if (enhanced?.startsWith('5.')) return enhanced
  return code === undefined ? '5.3.0' : '5.0.0'
}

/** RFC 6533 section 3: in a part that is ASCII, characters that are not are written by their code points. */
function typedAddress(address: string): string {
  if (/^[\x20-\x7e]*$/.test(address)) return `rfc822; ${address}`
  const encoded = address.replace(
    /[^!-*,-<>-[\]-~]/gu,
    char => `\\x{${char.codePointAt(0)!.toString(16).toUpperCase()}}`,
  )
  return `utf-8; ${encoded}`
}

/** The value of a header field, unfolded; undefined if there is none. */
function fieldOf(header: Buffer, name: string): string | undefined {
  const lines = header
    .toString('utf8')
    .replace(/(?:\r\n|\r|\n)(?=[ \t])/g, ' ')
    .split(/\r\n|\r|\n/)
  for (const line of lines) {
    const colon = line.indexOf(':')
    if (colon > 0 && line.slice(0, colon).trimEnd().toLowerCase() === name) return line.slice(colon + 1).trim()
  }
  return undefined
}

function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
}

function ascii(text: string): string {
  return plain(text)
    .replace(/[^\x20-\x7e]/g, '?')
    .trim()
}

/** Folds a field at blanks; a word that is too long by itself stays whole up to the limit of a line. */
function fold(field: string): string {
  const lines = ['']
  for (const word of field.split(' ')) {
    const line = lines.at(-1)!
    if (line === '') lines[lines.length - 1] = word
    else if (line.length + word.length < 77) lines[lines.length - 1] = `${line} ${word}`
    else lines.push(word)
  }
  return lines.map(line => line.slice(0, MAX_LINE - 2)).join('\r\n ')
}

function isPlain(bytes: Buffer): boolean {
  const text = bytes.toString('latin1')
  return (
    /^[\t\r\n\x20-\x7e]*$/.test(text) &&
    !/\r(?!\n)/.test(text) &&
    text.split(/\r?\n/).every(line => line.length <= MAX_LINE)
  )
}

function withCrlf(bytes: Buffer): Buffer {
  return Buffer.from(bytes.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n'), 'latin1')
}

/** As many lines as fit. */
function wholeLines(header: Buffer): Buffer {
  if (header.length <= MAX_HEADER) return header
  return header.subarray(0, header.lastIndexOf('\n', MAX_HEADER - 1) + 1)
}

/** RFC 5322 section 3.3. */
function rfc5322(date: Date): string {
  return date.toUTCString().replace('GMT', '+0000')
}

function reportingHost(): string {
  return hostname().replace(/[^A-Za-z0-9.-]/g, '-') || 'localhost'
}
