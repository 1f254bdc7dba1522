/**
 * The body of a message and the MIME headers that describe it (RFC 2045, 2046).
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
  const composite = /^(multipart|message)\//.test(type.value)
  const encoded = composite || !['', '7bit', '8bit'].includes(declared)
  const wanted = checkEncoding(options.encode)
  const versioned = addHeader(headers, 'MIME-Version', '1.0')
  if (encoded) {
    if (wanted !== undefined && wanted !== declared) throw alreadyEncoded(wanted, declared, type.value)
    const content = withLineEnds(typeof body === 'string' ? Buffer.from(body) : Buffer.from(body))
    const plain = declared !== '' || isSevenBit(content)
    return { headers: plain ? versioned : addHeader(versioned, 'Content-Transfer-Encoding', '8bit'), content }
  }
  const text = withLineEnds(typeof body === 'string' ? intoCharset(body, type) : Buffer.from(body))
  const encoding = wanted ?? plainest(text)
  const content = transferEncode(text, encoding)
  const typed = addHeader(versioned, 'Content-Type', buildHeaderValue(type))
  return { headers: addHeader(typed, 'Content-Transfer-Encoding', encoding), content }
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

function intoCharset(text: string, type: MediaType): Buffer {
  const charset = type.params.charset ?? 'utf-8'
  if (!CHARSETS.includes(charset))
    throw new ComposeError(
      'BAD_ENCODING',
      `charset: expected ${CHARSETS.join(', ')}, found ${JSON.stringify(charset)}; pass the body as bytes to use another one`,
    )
  if (charset === 'utf-8') return Buffer.from(text)
  const isLost = (part: string) => decodeCharset(encodeCharset(part, charset), charset) !== part
  if (!isLost(text)) return encodeCharset(text, charset)
  throw new ComposeError('BAD_ENCODING', `charset: ${charset} has no '${[...text].find(isLost)}'; use utf-8`)
}

/** CRLF for every CRLF, CR and LF, and one at the end. */
function withLineEnds(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1').replace(/\r\n|\r|\n/g, '\r\n')
  return Buffer.from(text === '' || text.endsWith('\r\n') ? text : `${text}\r\n`, 'latin1')
}

function isSevenBit(bytes: Buffer): boolean {
  return /^[\x01-\x7f]*$/.test(bytes.toString('latin1'))
}

function hasShortLines(bytes: Buffer): boolean {
  return bytes
    .toString('latin1')
    .split('\r\n')
    .every(line => line.length <= 998)
}

function plainest(text: Buffer): Encoding {
  if (isSevenBit(text) && hasShortLines(text)) return '7bit'
  const special = text.toString('latin1').replace(/[\t\r\n\x20-\x3c\x3e-\x7e]/g, '').length
  return special > text.length / 6 ? 'base64' : 'quoted-printable'
}

function transferEncode(text: Buffer, encoding: Encoding): Buffer {
  if (encoding === 'base64') return Buffer.from(text.toString('base64').replace(/.{1,76}/g, '$&\r\n'))
  if (encoding === 'quoted-printable') return Buffer.from(wrapQuoted(encodeQuoted(text)))
  const why = !hasShortLines(text)
    ? 'has lines of more than 998 bytes'
    : text.includes(0)
      ? 'holds a NUL'
      : encoding === '7bit' && !isSevenBit(text)
        ? 'is not ASCII'
        : undefined
  if (why)
    throw new ComposeError(
      'BAD_ENCODING',
      `encode: the body cannot be sent as ${encoding}, it ${why}; use quoted-printable`,
    )
  return text
}
