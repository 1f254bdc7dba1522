/**
 * The body of a message and the MIME headers that describe it (RFC 2045, 2046).
 *
 * Bytes are looked at as text of one character each (latin1), which costs less than looking at them as bytes.
 *
 * A multipart or already encoded body keeps its bytes, but for line ends, which become CRLF. Any other body is put into its
 * character set, and then into the encoding asked for, or else into the plainest that carries it: 7bit where it is ASCII in
 * lines of at most 998 bytes (RFC 5322 §2.1.1), otherwise quoted-printable or base64, whichever is shorter.
 */
import { decode as decodeCharset, encode as encodeCharset } from 'iconv-lite'
import { buildHeaderValue, parseHeaderValue } from 'nodemailer/lib/mime-funcs'
import { encode as encodeQuoted, wrap as wrapQuoted } from 'nodemailer/lib/qp'
import { ComposeError } from './errors.ts'
import { findHeader, formatValue, type Header, setHeader } from './headers.ts'
import type { Draft } from './message-text.ts'

export const ENCODINGS = ['base64', 'quoted-printable', '7bit', '8bit'] as const
export type Encoding = (typeof ENCODINGS)[number]

export interface BodyOptions {
  /** The transfer encoding to use. */
  readonly encode?: Encoding | undefined
  /** The character set of the body, by its name in MIME: utf-8, or one of CHARSETS. */
  readonly charset?: string | undefined
  /** The media type of the body, such as text/html. */
  readonly type?: string | undefined
}

/** Character sets that a text can be written in; all of them have ASCII as their lower half, as MIME asks of text (RFC 2046 section 4.1.2). */
export const CHARSETS: readonly string[] = [
  'utf-8',
  'us-ascii',
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16].map(part => `iso-8859-${part}`),
  ...[0, 1, 2, 3, 4, 5, 6, 7, 8].map(page => `windows-125${page}`),
  ...['koi8-r', 'koi8-u', 'shift_jis', 'euc-jp', 'euc-kr', 'gb2312', 'gbk', 'gb18030', 'big5'],
]

/**
 * @returns the headers with the MIME ones completed, and the bytes of the body, which end with CRLF
 * @throws {ComposeError} BAD_ENCODING, BAD_HEADER
 */
export function encodeBody({ headers, body }: Draft, options: BodyOptions): { headers: Header[]; content: Buffer } {
  const type = readType(headers, options)
  const declared = headerValue(headers, 'content-transfer-encoding').toLowerCase()
  const encoded = COMPOSITE.test(type.value) || !['', '7bit', '8bit'].includes(declared)
  if (encoded || (options.type !== undefined && COMPOSITE.test(readType(headers, {}).value))) {
    checkDescription(headers, options)
  }
  const wanted = checkEncoding(options.encode)
  const versioned = addHeader(headers, 'MIME-Version', '1.0')
  if (encoded) {
    if (wanted !== undefined && wanted !== declared) throw alreadyEncoded(wanted, declared, type.value)
    const text = withLineEnds(typeof body === 'string' ? utf8(body) : latin1(body))
    const plain = declared !== '' || isSevenBit(text)
    return {
      headers: plain ? versioned : addHeader(versioned, 'Content-Transfer-Encoding', '8bit'),
      content: Buffer.from(text, 'latin1'),
    }
  }
  const text = withLineEnds(typeof body === 'string' ? intoCharset(body, type) : latin1(body))
  const encoding = wanted ?? plainest(text)
  const content = transferEncode(text, encoding)
  const typed = addHeader(versioned, 'Content-Type', buildHeaderValue(type))
  return { headers: addHeader(typed, 'Content-Transfer-Encoding', encoding), content }
}

/** Types whose bodies are parts, or a message, of their own (RFC 2046 section 5). */
const COMPOSITE = /^(multipart|message)\//

/**
 * For a body that is as it is: its headers say what it is, and nothing else may.
 * @throws {ComposeError} BAD_ENCODING if the options say something else
 */
export function checkDescription(headers: readonly Header[], options: BodyOptions): void {
  const found = readType(headers, {})
  const { type, charset } = options
  const [name, asked, is] =
    type !== undefined && type.toLowerCase() !== found.value
      ? ['type', type, found.value]
      : charset !== undefined && charset.toLowerCase() !== found.params.charset
        ? ['charset', charset, `${found.value}${found.params.charset ? ` in ${found.params.charset}` : ''}`]
        : []
  if (name === undefined) return
  const text = `${name}: cannot make ${JSON.stringify(asked)} of what is ${is} already; leave '${name}' out`
  throw new ComposeError('BAD_ENCODING', text)
}

/** Sets a header unless it has that value already, and so may keep its lines. */
function addHeader(headers: readonly Header[], name: string, value: string): Header[] {
  return headerValue(headers, name.toLowerCase()) === value ? [...headers] : setHeader(headers, name, value)
}

interface MediaType {
  value: string
  params: Record<string, string>
}

/** The media type that the options and the headers give, text/plain in UTF-8 if none. */
export function readType(headers: readonly Header[], options: BodyOptions): MediaType {
  const { value, params } = parseHeaderValue(headerValue(headers, 'content-type'))
  if (options.type !== undefined && !/^[\w.+-]+\/[\w.+-]+$/.test(options.type))
    throw new ComposeError(
      'BAD_HEADER',
      `type: expected a media type such as text/html, found ${JSON.stringify(options.type)}`,
    )
  const type: MediaType = { value: (options.type ?? (value || 'text/plain')).toLowerCase(), params }
  const charset = (options.charset ?? params.charset)?.toLowerCase()
  if (charset !== undefined) type.params.charset = charset
  else if (type.value.startsWith('text/')) type.params.charset = 'utf-8'
  return type
}

function headerValue(headers: readonly Header[], name: string): string {
  const header = findHeader(headers, name)
  return header ? formatValue(header) : ''
}

function checkEncoding(encode: Encoding | undefined): Encoding | undefined {
  if (encode === undefined || ENCODINGS.includes(encode)) return encode
  throw new ComposeError('BAD_ENCODING', `encode: expected ${ENCODINGS.join(', ')}, found ${JSON.stringify(encode)}`)
}

function alreadyEncoded(wanted: string, declared: string, type: string): ComposeError {
  const found =
    declared === ''
      ? `a ${type} message, whose parts carry their own encodings`
      : `a text that is encoded as ${declared} already`
  return new ComposeError('BAD_ENCODING', `encode: cannot use ${wanted} on ${found}; leave 'encode' out`)
}

/** The bytes of a text in UTF-8. */
function utf8(text: string): string {
  const isAscii = Buffer.byteLength(text) === text.length
  return isAscii ? text : Buffer.from(text).toString('latin1')
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
}

function intoCharset(text: string, type: MediaType): string {
  const charset = type.params.charset ?? 'utf-8'
  if (!CHARSETS.includes(charset))
    throw new ComposeError(
      'BAD_ENCODING',
      `charset: expected ${CHARSETS.join(', ')}, found ${JSON.stringify(charset)}; pass the body as bytes to use another one`,
    )
  if (charset === 'utf-8') return utf8(text)
  const isLost = (part: string) => decodeCharset(encodeCharset(part, charset), charset) !== part
  if (!isLost(text)) return encodeCharset(text, charset).toString('latin1')
  throw new ComposeError('BAD_ENCODING', `charset: ${charset} has no '${[...text].find(isLost)}'; use utf-8`)
}

/** CRLF for every CRLF, CR and LF, and one at the end. */
function withLineEnds(text: string): string {
  const lines = text.includes('\r') ? text.replace(/\r\n|\r|\n/g, '\r\n') : text.replaceAll('\n', '\r\n')
  return lines === '' || lines.endsWith('\r\n') ? lines : `${lines}\r\n`
}

/** Whether it is ASCII without NUL: characters that UTF-8 writes as one byte each. */
function isSevenBit(text: string): boolean {
  return Buffer.byteLength(text) === text.length && !text.includes('\0')
}

function hasShortLines(text: string): boolean {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf('\r\n', at)
    if ((end < 0 ? text.length : end) - at > 998) return false
    if (end < 0) return true
    at = end + 2
  }
  return true
}

function plainest(text: string): Encoding {
  if (isSevenBit(text) && hasShortLines(text)) return '7bit'
  const special = text.replace(/[\t\r\n\x20-\x3c\x3e-\x7e]/g, '').length
  return special > text.length / 6 ? 'base64' : 'quoted-printable'
}

function transferEncode(text: string, encoding: Encoding): Buffer {
  const bytes = Buffer.from(text, 'latin1')
  if (encoding === 'base64') return Buffer.from(bytes.toString('base64').replace(/.{1,76}/g, '$&\r\n'))
  if (encoding === 'quoted-printable') return Buffer.from(wrapQuoted(encodeQuoted(bytes)))
  const why = !hasShortLines(text)
    ? 'has lines of more than 998 bytes'
    : text.includes('\0')
      ? 'holds a NUL'
      : encoding === '7bit' && !isSevenBit(text)
        ? 'is not ASCII'
        : undefined
  if (why)
    throw new ComposeError(
      'BAD_ENCODING',
      `encode: the body cannot be sent as ${encoding}, it ${why}; use quoted-printable`,
    )
  return bytes
}
