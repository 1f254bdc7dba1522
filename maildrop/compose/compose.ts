/**
 * Composes a message once, at send: what the daemon delivers, and what every attempt repeats, are these bytes.
 *
 * A parameter replaces its header. The envelope is `to`, or else To, Cc and Bcc; Bcc never leaves. A missing
 * Message-ID and Date are added, a missing Subject becomes "[No Subject]". A header that RFC 5322 §3.6 allows once and
 * that stands twice is an error. The result is checked as a whole before anyone sees it: an error means that nothing was composed.
 */

import { domainOf, type Mailbox, mailboxesOf } from './address.ts'
import { type BodyOptions, encodeBody, readType } from './body.ts'
import { ComposeError } from './errors.ts'
import type { HeaderPart } from './header-parts.ts'
import { cleanText } from './header-text.ts'
import {
  addressesOf,
  checkNames,
  findHeader,
  formatHeader,
  formatValue,
  type Header,
  removeHeaders,
  rfc5322Date,
  setHeader,
  withHeader,
} from './headers.ts'
import { type MessageObject, type Outside, readMessageObject } from './message-object.ts'
import { type Draft, readMessage } from './message-text.ts'
import { type Multipart, readEntity } from './mime.ts'

/** A message whose headers were split from its body already: text is the author's, values are data (see `HeaderPart`). */
export interface HeadedMessage {
  readonly headerParts: readonly { readonly name: string; readonly parts: readonly HeaderPart[] }[]
  /** Its text, or the tree of its parts. */
  readonly body: string | Multipart
}

/** RFC 5322 text or bytes, nodemailer's message object, or headers in parts with a body. */
export type MessageInput = string | Uint8Array | MessageObject | HeadedMessage

export interface ComposeOptions extends BodyOptions {
  /** Replaces To, and is the whole envelope then. A string is a list with commas; in an array, each entry is one address. */
  readonly to?: string | readonly string[] | undefined
  /** Replaces From: one address, with or without a display name. */
  readonly from?: string | undefined
  /** Replaces Subject: text, encoded as needed. */
  readonly subject?: string | undefined
  /** Replaces Auto-Submitted (RFC 3834), which tells programs not to answer. */
  readonly autoSubmitted?: (typeof AUTO_SUBMITTED)[number] | undefined
  /** Whether a body of HTML gets a plain text beside it. */
  readonly alternative?: boolean | undefined
  /** Most recipients, and most bytes of the composed message; no limit if left out. */
  readonly maxRecipients?: number | undefined
  readonly maxSize?: number | undefined
  /** What a message object may name instead of bringing it: files of this machine, URLs. Nothing by default. */
  readonly allow?: readonly Outside[] | undefined
  /** Left part of the Message-ID if the message has none. */
  readonly id: string
  /** The Date if the message has none; by default now. */
  readonly date?: Date
}

const AUTO_SUBMITTED = ['auto-generated', 'auto-replied', 'no'] as const

export interface ComposedMessage {
  /** With its angle brackets. */
  readonly messageId: string
  /** Addresses in normal form (see `address.ts`), each recipient once. */
  readonly envelope: { readonly from: string; readonly to: string[] }
  /** RFC 5322: all lines end with CRLF; ASCII but for 8bit bodies and for local parts that are not (RFC 6532). */
  readonly content: Buffer
}

/** @throws {ComposeError} BAD_ADDRESS, NO_RECIPIENTS, NO_SENDER, BAD_HEADER, BAD_ENCODING, BAD_MESSAGE, TOO_MANY_RECIPIENTS, TOO_LARGE */
export async function composeMessage(message: MessageInput, options: ComposeOptions): Promise<ComposedMessage> {
  const read = await readDraft(message, options)
  const wide = options.alternative ? await withAlternative(read, options) : undefined
  const draft = wide ?? read
  const addressed = override(draft.headers, options)
  checkNames(addressed)
  const from = senderOf(addressed)
  const to = recipientsOf(addressed, options.to !== undefined)
  const { maxRecipients = Number.POSITIVE_INFINITY, maxSize = Number.POSITIVE_INFINITY } = options
  if (to.length > maxRecipients)
    throw new ComposeError(
      'TOO_MANY_RECIPIENTS',
      `the message has ${to.length} recipients; its mail host allows ${maxRecipients} (property maxRecipients): send it in parts`,
    )
  const dated = complete(removeHeaders(addressed, 'bcc', 'resent-bcc'), from, options)
  const { headers, content } = encodeBody({ headers: dated, body: draft.body }, wide ? {} : options)
  const head = headers.map(formatHeader).join('')
  const messageId = formatValue(findHeader(dated, 'message-id')!)
  const whole = Buffer.concat([Buffer.from(`${head}\r\n`), content])
  if (whole.length > maxSize)
    throw new ComposeError(
      'TOO_LARGE',
      `the message has ${whole.length} bytes as it would be sent; its mail host allows ${maxSize} (property maxSize)`,
    )
  return { messageId, envelope: { from, to }, content: whole }
}

async function readDraft(message: MessageInput, options: ComposeOptions): Promise<Draft> {
  if (typeof message === 'string' || message instanceof Uint8Array) return readMessage(message)
  if (typeof message !== 'object' || message === null)
    throw new ComposeError(
      'BAD_MESSAGE',
      `expected a message as text, bytes or an object, found ${message === null ? 'null' : typeof message}`,
    )
  if ('headerParts' in message) return readHeaded(message, options)
  return readMessageObject(message, options)
}

/** The message with its HTML and a plain text made of it as parts; undefined if its body is something else. */
async function withAlternative({ headers, body }: Draft, options: BodyOptions): Promise<Draft | undefined> {
  const { value: type, params } = readType(headers, options)
  const isText = typeof body === 'string' && findHeader(headers, 'content-transfer-encoding') === undefined
  if (type !== 'text/html' || !isText) return undefined
  const html = { kind: 'text', type, text: body, charset: params.charset, encode: options.encode } as const
  const content = await readEntity({ kind: 'multipart', subtype: 'alternative', parts: [html] })
  return { headers: [...removeHeaders(headers, 'content-type'), ...content.headers], body: content.body }
}

async function readHeaded({ headerParts, body }: HeadedMessage, options: ComposeOptions): Promise<Draft> {
  const headers = headerParts.map(({ name, parts }): Header => ({ name, parts }))
  if (typeof body === 'string') return { headers, body }
  const own = headerParts.find(({ name }) => /^content-(type|transfer-encoding)$/i.test(name))
  if (own !== undefined)
    throw new ComposeError('BAD_HEADER', `${own.name}: the parts of the message say what it is; leave the header out`)
  if (options.type !== undefined || options.charset !== undefined || options.encode !== undefined)
    throw new ComposeError(
      'BAD_ENCODING',
      'type, charset and encode are those of a message of one text; give them to its parts, or leave them out',
    )
  const content = await readEntity(body)
  return { headers: [...headers, ...content.headers], body: content.body }
}

/** Puts the parameters in the place of their headers. */
function override(headers: readonly Header[], { to, from, subject, autoSubmitted }: ComposeOptions): Header[] {
  let result = [...headers]
  if (from !== undefined) result = setHeader(result, 'From', { value: from })
  if (to !== undefined) result = setHeader(result, 'To', typeof to === 'string' ? to : { value: to })
  if (subject !== undefined) result = setHeader(result, 'Subject', { value: cleanText(subject) })
  if (autoSubmitted !== undefined && !AUTO_SUBMITTED.includes(autoSubmitted))
    throw new ComposeError(
      'BAD_HEADER',
      `autoSubmitted: expected ${AUTO_SUBMITTED.join(', ')}, found ${JSON.stringify(autoSubmitted)}`,
    )
  if (autoSubmitted !== undefined) result = setHeader(result, 'Auto-Submitted', autoSubmitted)
  return result
}

/** The envelope's sender: Sender where it is given, since From may name several then (RFC 5322 §3.6.2); otherwise From. */
function senderOf(headers: readonly Header[]): string {
  const [author, ...coauthors] = mailboxesIn(headers, 'from')
  if (author === undefined)
    throw new ComposeError('NO_SENDER', "the message has no sender: give it a From header, or pass 'from'")
  const [sender, ...more] = mailboxesIn(headers, 'sender')
  if (more.length > 0) throw new ComposeError('BAD_ADDRESS', 'Sender: expected exactly one address, found several')
  if (coauthors.length > 0 && sender === undefined)
    throw new ComposeError(
      'BAD_ADDRESS',
      'From: names several addresses; RFC 5322 asks for a Sender header with the one that sends',
    )
  return coauthors.length > 0 && sender ? sender.address : author.address
}

function recipientsOf(headers: readonly Header[], onlyTo: boolean): string[] {
  const all = (onlyTo ? ['to'] : ['to', 'cc', 'bcc']).flatMap(name => mailboxesIn(headers, name))
  if (all.length === 0)
    throw new ComposeError(
      'NO_RECIPIENTS',
      "the message has no recipient: give it a To, Cc or Bcc header, or pass 'to'",
    )
  return [...new Set(all.map(({ address }) => address))]
}

function mailboxesIn(headers: readonly Header[], name: string): Mailbox[] {
  const header = findHeader(headers, name)
  return header ? mailboxesOf(addressesOf(header)) : []
}

/** Adds what every message has. */
function complete(headers: readonly Header[], from: string, { id, date = new Date() }: ComposeOptions): Header[] {
  const defaults = [
    ['Subject', '[No Subject]'],
    ['Date', rfc5322Date(date)],
    ['Message-ID', `<${id}@${domainOf(from)}>`],
  ] as const
  let result = [...headers]
  for (const [name, value] of defaults) {
    const header = findHeader(result, name.toLowerCase())
    if (!header) result = withHeader(result, name, value)
    else if (formatValue(header) === '') result = setHeader(result, name, value)
  }
  return result
}
