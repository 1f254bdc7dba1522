/**
 * The mail file.
 *
 *     ##Id:0mhx2k4f1-000001-9f86d081884c7d659a2f     optional, ours
 *     ##Length:1234                                   optional, ours: bytes of the message
 *     ##To:ann@example.org,bob@example.org            the envelope's recipients
 *     ##From:sender@example.org                       the envelope's sender; empty or <> is the null sender
 *     ##Not-Before:2026-12-24T18:00:00+01:00          optional: not to be sent earlier; or seconds since 1970
 *     From: "Sender" <sender@example.org>             here the message begins
 *     Subject: This is a test message
 *
 *     Body
 *
 * Lines that begin with `##` stand only at the top, in any order, keys in any case, ended by LF or CRLF, never folded;
 * unknown keys are ignored. The first other line (a blank one too) begins the message, which is bytes, not text. Where `##Length`
 * is given the message is the last so many bytes of the file, even if they begin with `##`; a file that is shorter is
 * incomplete. `##To` or `##From` given twice is an error: text that follows can never replace the envelope.
 *
 * Reading never throws: what is wrong with a file is a value, since it decides what happens to the file.
 */
import { isAscii } from 'node:buffer'
import { MaildropError } from '../errors.ts'
import { checkAddress, parseAddressList } from './address.ts'
import { checkMailId } from './id.ts'

/** Most bytes that the `##` lines may take; about 30,000 recipients. */
export const MAX_ENVELOPE_BYTES = 1024 * 1024

export interface Envelope {
  /** The sender; empty for the null sender. */
  readonly from: string
  /** At least one recipient, none twice. */
  readonly to: readonly string[]
}

/** What the top of a mail file says. */
export type MailHead =
  | {
      readonly kind: 'mail'
      readonly id: string | undefined
      readonly envelope: Envelope
      /** Where the message begins, in bytes from the start of the file. */
      readonly start: number
      /** When it may be sent, in milliseconds since 1970. */
      readonly notBefore: number | undefined
      /** True if `##Length` vouches for the file being complete. */
      readonly measured: boolean
    }
  /** More bytes are needed: the file is shorter than it says, or its envelope has not ended yet. */
  | { readonly kind: 'incomplete'; readonly problem: string }
  /** No more bytes will make this a mail file. */
  | { readonly kind: 'malformed'; readonly problem: string }

/**
 * Builds the bytes of a mail file.
 * @throws {MaildropError} INVALID_MAIL_ID, INVALID_ADDRESS (also for an empty list of recipients), INVALID_MAIL_FILE for a
 *   `notBefore` that is no time
 */
export function formatMailFile(
  mail: {
    readonly id: string
    readonly from: string
    readonly to: readonly string[]
    /** When the message may be sent at the earliest. */
    readonly notBefore?: Date | undefined
  },
  message: Uint8Array,
): Buffer {
  checkMailId(mail.id)
  if (mail.from !== '') checkAddress('sender', mail.from)
  for (const recipient of mail.to) checkAddress('recipient', recipient)
  if (mail.to.length === 0) throw new MaildropError('INVALID_ADDRESS', `mail ${mail.id} has no recipient`)
  const to = [...new Set(mail.to)].join(',')
  const notBefore = mail.notBefore === undefined ? '' : `##Not-Before:${timeText(mail.notBefore)}\n`
  const top = Buffer.from(
    `##Id:${mail.id}\n##Length:${message.byteLength}\n${notBefore}##To:${to}\n##From:${mail.from}\n`,
  )
  if (top.length > MAX_ENVELOPE_BYTES) {
    throw new MaildropError(
      'INVALID_ADDRESS',
      `mail ${mail.id} has ${mail.to.length} recipients, ${top.length} bytes of envelope; at most ${MAX_ENVELOPE_BYTES} bytes are possible: send it in parts`,
    )
  }
  return Buffer.concat([top, message])
}

/**
 * Takes a whole mail file apart.
 * @throws {MaildropError} INVALID_MAIL_FILE
 */
export function parseMailFile(bytes: Buffer): { id: string | undefined; envelope: Envelope; message: Buffer } {
  const head = parseMailHead(bytes, bytes.length)
  if (head.kind !== 'mail') throw new MaildropError('INVALID_MAIL_FILE', `not a mail file: ${head.problem}`)
  return { id: head.id, envelope: head.envelope, message: bytes.subarray(head.start) }
}

/**
 * Reads the top of a mail file.
 * @param bytes the file's beginning: all of it, or at least MAX_ENVELOPE_BYTES
 * @param size the size of the file in bytes
 */
export function parseMailHead(bytes: Buffer, size: number): MailHead {
  const values = new Map<string, string>()
  let at = 0
  let end = size
  while (at < end && bytes[at] === HASH && bytes[at + 1] === HASH) {
    const newline = bytes.indexOf(LF, at)
    if (newline === -1 || newline >= end) {
      if (bytes.length >= MAX_ENVELOPE_BYTES)
        return malformed(`the ## lines take more than ${MAX_ENVELOPE_BYTES} bytes`)
      return incomplete(
        values.has('length') ? 'the file is shorter than its ##Length promises' : 'the file ends within its ## lines',
      )
    }
    const line = decode(bytes.subarray(at + 2, newline))
    if (line === undefined) return malformed('a ## line is not UTF-8, or contains a NUL or another control character')
    const colon = line.indexOf(':')
    if (colon < 1)
      return malformed(`the line ${JSON.stringify(`##${line}`)} has no key and colon; expected ##Key:value`)
    const key = line.slice(0, colon).trim().toLowerCase()
    const value = line.slice(colon + 1).trim()
    if (KEYS.has(key) && values.has(key)) return malformed(`there are two ##${key} lines; expected one`)
    values.set(key, value)
    at = newline + 1
    if (key === 'length') {
      if (!/^\d{1,15}$/.test(value))
        return malformed(`##Length is ${JSON.stringify(value)}; expected a number of bytes`)
      end = size - Number(value)
      if (end < at) return incomplete(`##Length promises ${value} bytes, the file has only ${size - at} of them`)
    }
  }
  const measured = values.has('length')
  if (!measured && at > 0 && (bytes[at] === SPACE || bytes[at] === TAB))
    return malformed(
      'a line that begins with a blank follows the ## lines, which cannot be folded; write each in one line',
    )
  if (measured && at !== end) return malformed('the file is longer than its ##Length promises')
  return mailHead(values, at, { measured, ended: at === size })
}

const HASH = 0x23
const LF = 0x0a
const SPACE = 0x20
const TAB = 0x09
const KEYS = new Set(['to', 'from', 'id', 'length', 'not-before'])
const UTF8 = new TextDecoder('utf-8', { fatal: true })

function mailHead(values: Map<string, string>, start: number, file: { measured: boolean; ended: boolean }): MailHead {
  const to = values.get('to')
  const from = values.get('from')
  if (to === undefined || from === undefined) {
    const problem = `there is no ${to === undefined ? '##To' : '##From'} line at the top`
    return file.ended || file.measured ? incomplete(problem) : malformed(problem)
  }
  const recipients = parseAddressList(to)
  if ('problem' in recipients) return malformed(`##To: ${recipients.problem}`)
  if (recipients.addresses.length === 0) return malformed('##To names no recipient')
  const senders = from === '<>' ? { addresses: [] } : parseAddressList(from)
  if ('problem' in senders) return malformed(`##From: ${senders.problem}`)
  if (senders.addresses.length > 1) return malformed('##From names more than one sender')
  if (file.ended && !file.measured) return incomplete('no message follows the ## lines')
  const time = values.get('not-before')
  const notBefore = time === undefined ? undefined : parseTime(time)
  if (notBefore !== undefined && Number.isNaN(notBefore))
    return malformed(`##Not-Before is ${JSON.stringify(time)}; ${TIME}`)
  const envelope = { from: senders.addresses[0] ?? '', to: recipients.addresses }
  return { kind: 'mail', id: values.get('id'), envelope, start, notBefore, measured: file.measured }
}

const TIME = 'expected seconds since 1970, or date, time and zone as in 2026-12-24T18:00:00+01:00'

/** A time of ISO 8601 with its zone, or seconds since 1970, in milliseconds; NaN for anything else, such as 30 February. */
function parseTime(text: string): number {
  if (/^\d{1,11}$/.test(text)) return Number(text) * 1000
  const [, date, time, zone] =
    /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?) ?([Zz]|[+-]\d\d:?\d\d)$/.exec(text) ?? []
  if (!date || !time || !zone) return Number.NaN
  const day = new Date(`${date}T00:00:00Z`)
  if (Number.isNaN(day.getTime()) || !day.toISOString().startsWith(date)) return Number.NaN
  const offset = zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone.toUpperCase()
  return Date.parse(`${date}T${time}${offset}`)
}

function timeText(time: Date): string {
  const isWritable = time.getTime() >= 0 && time.getUTCFullYear() <= 9999
  if (!isWritable) throw new MaildropError('INVALID_MAIL_FILE', 'notBefore is no time from 1970 to 9999')
  return time.toISOString()
}

function decode(line: Buffer): string | undefined {
  const bytes = line.at(-1) === 0x0d ? line.subarray(0, -1) : line
  try {
    const text = isAscii(bytes) ? bytes.toString('latin1') : UTF8.decode(bytes)
    return /[^\P{Cc}\t]/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

function incomplete(problem: string): MailHead {
  return { kind: 'incomplete', problem }
}

function malformed(problem: string): MailHead {
  return { kind: 'malformed', problem }
}
