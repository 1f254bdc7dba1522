/**
 * The sendmail block: `<<#sendmail mailhost="XYZ" mailto=… mailfrom=… subject=… encode=… key=…>> … <</sendmail>>`; or, in the place
 * of `mailhost`, `smtphost="mail.example.org" port=25`.
 *
 * The block's own text decides where each header begins and ends and where the body begins. Values never are part of
 * that text: a rendered block is a list of text and values, it is split at the line breaks of its text only, and
 * the headers are handed over as text with values in it (see `HeaderPart` of maildrop/compose), which writes each value
 * for the kind of header it stands in. So no value can add, end or name a header.
 *
 * In a body of text/html values are escaped; a multipart body is syntax of its own, so no value may stand in it.
 *
 * A block whose first line is not `Name: …` has no headers. Headers end at the first line of the text that is blank.
 * A block that is indented as a whole is read without its indentation.
 */
import type { Block, Expression } from './ast.ts'
import { type Attributes, attributeFault, attributeText, attributeWord, type Fault } from './attributes.ts'
import { type Place, TemplateError } from './errors.ts'
import { ENCODINGS, type Multipart, type SendOptions, Server } from './mail-host.ts'
import { bodyText, isBlank, type Line, splitLines, withoutIndent } from './mail-lines.ts'
import { isEmbedded, isSafeText, type Piece } from './output.ts'

export const SENDMAIL = 'sendmail'
const ATTRIBUTES: Attributes = {
  mailhost: undefined,
  smtphost: undefined,
  port: undefined,
  mailto: undefined,
  mailfrom: undefined,
  subject: undefined,
  encode: ENCODINGS,
  key: undefined,
}

/** What is wrong with a sendmail block as it is written, if anything is. */
export function checkSendmail({ params, hash, program, inverse, loc }: Block): Fault | undefined {
  const pairs = hash?.pairs ?? []
  const fault = attributeFault(SENDMAIL, hash, ATTRIBUTES)
  if (fault) return fault
  if (inverse || !program)
    return { code: 'TEMPLATE_SYNTAX', at: { loc }, what: 'sendmail has no else; its block is the message' }
  const written = (...keys: string[]) => pairs.filter(({ key }) => keys.includes(key))
  const hosts = [...params, ...written('mailhost', 'smtphost').map(({ value }) => value)]
  if (hosts.length !== 1)
    return {
      code: hosts.length === 0 ? 'NO_MAIL_HOST' : 'TEMPLATE_SYNTAX',
      at: { loc },
      what: `expected one mail host, mailhost="NAME" or the first argument, or an SMTP server, smtphost="NAME", found ${hosts.length === 0 ? 'none' : hosts.length}`,
    }
  const host = hosts[0]
  if (host?.type.endsWith('Literal') && !('value' in host && typeof host.value === 'string' && host.value !== ''))
    return { code: 'NO_MAIL_HOST', at: host, what: 'expected the name or path of a mail host, or the name of a server' }
  const [port] = written('port')
  if (port && written('smtphost').length === 0)
    return { code: 'TEMPLATE_SYNTAX', at: port, what: 'port goes with smtphost; a mail host knows its server' }
  if (port && 'value' in port.value && portOf(port.value.value) === undefined)
    return { code: 'TEMPLATE_SYNTAX', at: port, what: `port: ${PORT}, found '${port.value.value}'` }
  return undefined
}

const PORT = 'expected a whole number from 1 to 65535'

function portOf(value: unknown): number | undefined {
  const port = typeof value === 'string' && /^\d{1,5}$/.test(value) ? Number(value) : value
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : undefined
}

/** A block as it was rendered, not yet sent. */
export interface PendingMail {
  /** A name or path, or a server. */
  readonly host: unknown
  readonly options: SendOptions
  readonly parts: readonly Piece[]
  readonly place: Place
}

/** The attributes of a block, with their values. */
export function readAttributes(
  { params, hash }: Block,
  evaluate: (expression: Expression) => unknown,
  place: Place,
): { host: unknown; options: SendOptions } {
  const options: SendOptions = {}
  let host: unknown = params[0] && evaluate(params[0])
  let server: string | undefined
  let port: unknown = 25
  for (const { key, value } of hash?.pairs ?? []) {
    const found = evaluate(value)
    if (key === 'mailhost') host = found
    else if (key === 'smtphost') server = attributeText(found, key, place).toLowerCase()
    else if (key === 'port') port = found
    // the author may write a list; a value is one address, or an array of them
    else if (key === 'mailto')
      options.to =
        value.type === 'StringLiteral' ? value.value : [found].flat().map(one => attributeText(one, key, place))
    else if (key === 'mailfrom') options.from = attributeText(found, key, place)
    else if (key === 'subject') options.subject = attributeText(found, key, place)
    else if (key === 'key') options.key = keyOf(found, place)
    else if (key === 'encode') options.encode = attributeWord(found, key, ENCODINGS, place)
  }
  return { host: server === undefined ? host : new Server(server, checkPort(port, place)), options }
}

function checkPort(value: unknown, place: Place): number {
  const port = portOf(value)
  if (port !== undefined) return port
  throw new TemplateError('TEMPLATE_RENDER', place, `port: ${PORT}, found ${JSON.stringify(value)}`)
}

/** A key that is missing would let two messages through, so that is an error. */
function keyOf(value: unknown, place: Place): string {
  const key = attributeText(value, 'key', place)
  if (key !== '') return key
  throw new TemplateError(
    'TEMPLATE_RENDER',
    place,
    'sendmail: key: expected a text, found nothing; leave key out for mail that may be sent again',
  )
}

export interface MailMessage {
  readonly headerParts: { readonly name: string; readonly parts: readonly (string | { readonly value: unknown })[] }[]
  readonly body: string | Multipart
}

/**
 * Reads a rendered block as a message.
 * @param contentType the body's media type if no header gives one
 * @throws {TemplateError} TEMPLATE_RENDER
 */
export function readMail({ parts, place }: Pick<PendingMail, 'parts' | 'place'>, contentType = ''): MailMessage {
  const lines = withoutIndent(splitLines(parts))
  const headerParts: { name: string; parts: (string | { value: unknown })[] }[] = []
  let at = 0
  if (startsHeader(lines[0] ?? [])) {
    for (; at < lines.length && !isBlank(lines[at]!); at++) {
      const line = lines[at]!
      const previous = headerParts.at(-1)
      if (previous && typeof line[0] === 'string' && /^[ \t]/.test(line[0]))
        previous.parts.push(...line.map(piece => headerPart(piece, place)))
      else headerParts.push(readHeader(line, place))
    }
  }
  const rest = isBlank(lines[at] ?? []) ? lines.slice(at + 1) : lines.slice(at)
  const types = headerParts.filter(({ name }) => name.toLowerCase() === 'content-type')
  const type = types.length === 0 ? contentType : types.flatMap(({ parts }) => parts.map(plain)).join('')
  const pieces = rest.flat().filter(piece => typeof piece !== 'string' || piece.trim() !== '')
  const [only] = pieces
  if (only !== undefined && pieces.length === 1 && isEmbedded(only) && only.entity.kind === 'multipart')
    return { headerParts, body: only.entity }
  return { headerParts, body: rest.map(line => line.map(piece => bodyText(piece, type, place)).join('')).join('\n') }
}

const HEADER = /^([\x21-\x39\x3b-\x7e]+)[ \t]*:/

function readHeader(
  [first, ...rest]: Line,
  place: Place,
): MailMessage['headerParts'][number] & { parts: (string | { value: unknown })[] } {
  const [start, name] = HEADER.exec(typeof first === 'string' ? first : '') ?? []
  if (typeof first !== 'string' || start === undefined || name === undefined) {
    const found = JSON.stringify(
      [first, ...rest]
        .map(part => (typeof part === 'string' ? part : '…'))
        .join('')
        .slice(0, 80),
    )
    const what = /^…*[\x21-\x39\x3b-\x7e…]*:/.test(JSON.parse(found) as string)
      ? 'a value cannot name a header'
      : 'expected a header ("Name: value") or the blank line before the body'
    throw new TemplateError('TEMPLATE_RENDER', place, `sendmail: ${what}, found ${found}`)
  }
  return { name, parts: [first.slice(start.length).trimStart(), ...rest.map(piece => headerPart(piece, place))] }
}

/** True if the first line makes the block one with headers: a name and a colon, even if a value stands in the name. A tag is no name. */
function startsHeader(line: Line): boolean {
  const text = line.map(part => (typeof part === 'string' ? part : 'x')).join('')
  return HEADER.test(text) && !text.startsWith('<')
}

/** Arrays and mailboxes stay what they are for a header of addresses; all else is text. */
function headerPart(part: Piece, place: Place): string | { value: unknown } {
  if (typeof part === 'string') return part
  if (isEmbedded(part))
    throw new TemplateError(
      'TEMPLATE_RENDER',
      place,
      'sendmail: a mime block among the headers; put a blank line before it',
    )
  return { value: isSafeText(part.value) ? String(part.value) : part.value }
}

function plain(part: string | { readonly value: unknown }): string {
  return typeof part === 'string' ? part : typeof part.value === 'string' ? part.value : ''
}
