/**
 * The headers of a message: their kinds, and how each is written.
 *
 * Address headers are parsed and written anew; identifiers, dates and MIME headers must have their form, and a value in
 * them can be a word of it only; everything else is unstructured text. A header read from a text whose form is right
 * already keeps its bytes (a signature over it stays valid). One header is one header: nothing in it can end it.
 */
import { buildHeaderValue, parseHeaderValue } from 'nodemailer/lib/mime-funcs'
import { type Address, formatAddresses } from './address.ts'
import { parseAddresses } from './address-parser.ts'
import { ComposeError } from './errors.ts'
import { type HeaderPart, shown, valueText } from './header-parts.ts'
import { decodeWords, encodeText, foldHeader } from './header-text.ts'

export interface Header {
  readonly name: string
  readonly parts: readonly HeaderPart[]
  /** The lines it was read from, with CRLF after each. */
  readonly lines?: string
  /** What its parts have been read as, and how they are written: filled in when first asked for. */
  addresses?: readonly Address[]
  value?: string
}

/** RFC 5322 §3.6 and RFC 2045 §3: at most one of each in a message. */
const SINGLE = new Set(
  'from sender reply-to to cc bcc message-id in-reply-to references subject date mime-version content-type content-transfer-encoding'.split(
    ' ',
  ),
)
const ADDRESSES = new Set(
  'from sender reply-to to cc bcc resent-from resent-sender resent-to resent-cc resent-bcc disposition-notification-to'.split(
    ' ',
  ),
)
const IDENTIFIERS = new Set(['message-id', 'in-reply-to', 'references', 'resent-message-id', 'content-id'])
const DATES = new Set(['date', 'resent-date'])
const MSG_ID = '<[\\x21-\\x3b\\x3d\\x3f-\\x7e]+>'
const ONE_ID = new RegExp(`^${MSG_ID}$`)
const IDS = new RegExp(`^(?:${MSG_ID}[ \\t]*)+$`)
/** What a value in a MIME header may be: RFC 2045 §5.1's token, and the slash between two. */
const MIME_WORD = /^[\w!#$%&'*+./^`{|}~-]*$/

/** The one header of that name, in any case; undefined if there is none. */
export function findHeader(headers: readonly Header[], name: string): Header | undefined {
  return headers.find(header => header.name.toLowerCase() === name)
}

/**
 * Replaces the headers of that name, in the first one's place, or adds one.
 * @param value its text as it is to be written
 */
export function setHeader(headers: readonly Header[], name: string, ...parts: HeaderPart[]): Header[] {
  const lower = name.toLowerCase()
  const at = headers.findIndex(header => header.name.toLowerCase() === lower)
  const others = removeHeaders(headers, lower)
  return at < 0 ? [...others, { name, parts }] : others.toSpliced(at, 0, { name, parts })
}

/** Adds a header whose value has its form already. */
export function withHeader(headers: readonly Header[], name: string, value: string): Header[] {
  return [...headers, { name, parts: [value], value }]
}

/** The addresses of an address header. @throws {ComposeError} BAD_ADDRESS */
export function addressesOf(header: Header): readonly Address[] {
  header.addresses ??= parseAddresses(header.parts, header.name)
  return header.addresses
}

/** The headers without those named, in lower case. */
export function removeHeaders(headers: readonly Header[], ...names: string[]): Header[] {
  return headers.filter(header => !names.includes(header.name.toLowerCase()))
}

/** @throws {ComposeError} BAD_HEADER for a name that is none (RFC 5322 §2.2) and for a second one where only one may be */
export function checkNames(headers: readonly Header[]): void {
  const seen = new Set<string>()
  for (const { name } of headers) {
    const lower = name.toLowerCase()
    if (!/^[\x21-\x39\x3b-\x7e]{1,70}$/.test(name))
      throw new ComposeError('BAD_HEADER', `${shown([name])} cannot be the name of a header`)
    if (SINGLE.has(lower) && seen.has(lower))
      throw new ComposeError(
        'BAD_HEADER',
        `the message has two ${name} headers; RFC 5322 allows one, with a list in it where there are several`,
      )
    seen.add(lower)
  }
}

/**
 * Writes a header, folded, with CRLF after every line; nothing if its value is empty.
 * @throws {ComposeError} BAD_ADDRESS, BAD_HEADER
 */
export function formatHeader(header: Header): string {
  const value = formatValue(header)
  if (value === '') return ''
  const { lines } = header
  const keep =
    lines !== undefined && /^[\t\r\n\x20-\x7e]*$/.test(lines) && lines.split('\r\n').every(line => line.length <= 998)
  return keep ? lines : foldHeader(header.name, value)
}

/**
 * The value of a header as it is to be written, unfolded.
 * @throws {ComposeError} BAD_ADDRESS, BAD_HEADER
 */
export function formatValue(header: Header): string {
  header.value ??= writtenValue(header)
  return header.value
}

function writtenValue(header: Header): string {
  const { name, parts } = header
  const kind = name.toLowerCase()
  if (ADDRESSES.has(kind)) return formatAddresses(addressesOf(header))
  const text = (mark: (value: string) => string) =>
    parts
      .map(part => (typeof part === 'string' ? part : mark(valueText(part.value, name))))
      .join('')
      .trim()
  if (IDENTIFIERS.has(kind))
    return checked(
      name,
      text(value => value),
      kind === 'message-id' ? ONE_ID : IDS,
      'an identifier such as <left@right>',
    )
  if (DATES.has(kind))
    return formatDate(
      name,
      text(value => value),
    )
  if (kind === 'mime-version' || kind.startsWith('content-'))
    return formatMime(
      name,
      text(value => checked(name, value, MIME_WORD, 'a word without blanks or signs')),
    )
  return encodeText(
    parts.map(part => (typeof part === 'string' ? decodeWords(part) : valueText(part.value, name))).join(''),
  )
}

function checked(name: string, text: string, form: RegExp, expected: string): string {
  if (text === '' || form.test(text)) return text
  throw new ComposeError('BAD_HEADER', `${name}: expected ${expected}, found ${shown([text])}`)
}

function formatDate(name: string, text: string): string {
  if (text === '') return ''
  const date = new Date(text.replace(/\([^()]*\)/g, ''))
  if (Number.isNaN(date.getTime()))
    throw new ComposeError('BAD_HEADER', `${name}: expected a date, found ${shown([text])}`)
  return rfc5322Date(date)
}

/** A MIME header; parameters that are not ASCII are written by RFC 2231. */
function formatMime(name: string, text: string): string {
  const clean = checked(name, text, /^[^\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]*$/, 'text on one line')
  return /^[\t\x20-\x7e]*$/.test(clean) ? clean : buildHeaderValue(parseHeaderValue(clean))
}

/** RFC 5322 §3.3. */
export function rfc5322Date(date: Date): string {
  return date.toUTCString().replace('GMT', '+0000')
}
