/**
 * The sendmail block: `<<#sendmail mailhost="XYZ" mailto=… mailfrom=… subject=… encode=…>> … <</sendmail>>`.
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
import type { Block, Expression, Located } from './ast.ts'
import { type Place, TemplateError, type TemplateErrorCode } from './errors.ts'
import { ENCODINGS, type SendOptions } from './mail-host.ts'
import { escapeHtml, type Inserted, SafeText, textOf } from './output.ts'

export const SENDMAIL = 'sendmail'
const ATTRIBUTES = ['mailhost', 'mailto', 'mailfrom', 'subject', 'encode']

/** What is wrong with a sendmail block as it is written, if anything is. */
export function checkSendmail({
  params,
  hash,
  program,
  inverse,
  loc,
}: Block): { code: TemplateErrorCode; at: Located; what: string } | undefined {
  const pairs = hash?.pairs ?? []
  const unknown = pairs.find(({ key }) => !ATTRIBUTES.includes(key))
  const encode = pairs.find(({ key }) => key === 'encode')
  if (unknown)
    return {
      code: 'TEMPLATE_SYNTAX',
      at: unknown,
      what: `sendmail has no attribute '${unknown.key}'; expected ${ATTRIBUTES.join(', ')}`,
    }
  const repeated = pairs.find(({ key }, i) => pairs.findIndex(other => other.key === key) < i)
  if (repeated)
    return { code: 'TEMPLATE_SYNTAX', at: repeated, what: `sendmail has the attribute '${repeated.key}' twice` }
  if (inverse || !program)
    return { code: 'TEMPLATE_SYNTAX', at: { loc }, what: 'sendmail has no else; its block is the message' }
  const hosts = params.length + pairs.filter(({ key }) => key === 'mailhost').length
  if (hosts !== 1)
    return {
      code: hosts === 0 ? 'NO_MAIL_HOST' : 'TEMPLATE_SYNTAX',
      at: { loc },
      what: `expected one mail host, mailhost="NAME" or the first argument, found ${hosts === 0 ? 'none' : hosts}`,
    }
  const host = params[0] ?? pairs.find(({ key }) => key === 'mailhost')?.value
  if (host?.type.endsWith('Literal') && !('value' in host && typeof host.value === 'string' && host.value !== ''))
    return { code: 'NO_MAIL_HOST', at: host, what: 'expected the name or path of a mail host' }
  if (encode?.value.type === 'StringLiteral' && !isEncoding(encode.value.value))
    return {
      code: 'TEMPLATE_SYNTAX',
      at: encode,
      what: `encode: expected ${ENCODINGS.join(', ')}, found '${encode.value.value}'`,
    }
  return undefined
}

/** A block as it was rendered, not yet sent. */
export interface PendingMail {
  readonly host: unknown
  readonly options: SendOptions
  readonly parts: readonly (string | Inserted)[]
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
  for (const { key, value } of hash?.pairs ?? []) {
    const found = evaluate(value)
    if (key === 'mailhost') host = found
    // the author may write a list; a value is one address, or an array of them
    else if (key === 'mailto')
      options.to = value.type === 'StringLiteral' ? value.value : [found].flat().map(one => text(one, key, place))
    else if (key === 'mailfrom') options.from = text(found, key, place)
    else if (key === 'subject') options.subject = text(found, key, place)
    else if (key === 'encode') options.encode = encoding(found, place)
  }
  return { host, options }
}

function text(value: unknown, attribute: string, place: Place): string {
  return textOf(value, what => new TemplateError('TEMPLATE_RENDER', place, `${attribute}: ${what}`))
}

function encoding(value: unknown, place: Place): NonNullable<SendOptions['encode']> {
  if (isEncoding(value)) return value
  throw new TemplateError(
    'TEMPLATE_RENDER',
    place,
    `encode: expected ${ENCODINGS.join(', ')}, found ${JSON.stringify(value)}`,
  )
}

function isEncoding(value: unknown): value is (typeof ENCODINGS)[number] {
  return (ENCODINGS as readonly unknown[]).includes(value)
}

type Line = (string | Inserted)[]
export interface MailMessage {
  readonly headerParts: { readonly name: string; readonly parts: readonly (string | { readonly value: unknown })[] }[]
  readonly body: string
}

/** Reads a rendered block as a message. @throws {TemplateError} TEMPLATE_RENDER */
export function readMail({ parts, place }: PendingMail): MailMessage {
  const lines = withoutIndent(splitLines(parts))
  const headerParts: { name: string; parts: (string | { value: unknown })[] }[] = []
  let at = 0
  if (startsHeader(lines[0] ?? [])) {
    for (; at < lines.length && !isBlank(lines[at]!); at++) {
      const line = lines[at]!
      const previous = headerParts.at(-1)
      if (previous && typeof line[0] === 'string' && /^[ \t]/.test(line[0]))
        previous.parts.push(...line.map(headerPart))
      else headerParts.push(readHeader(line, place))
    }
  }
  const rest = isBlank(lines[at] ?? []) ? lines.slice(at + 1) : lines.slice(at)
  const type = headerParts
    .filter(({ name }) => name.toLowerCase() === 'content-type')
    .flatMap(({ parts }) => parts.map(plain))
    .join('')
  const write = (part: string | Inserted) => (typeof part === 'string' ? part : bodyText(part, type))
  return { headerParts, body: rest.map(line => line.map(write).join('')).join('\n') }
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
  return { name, parts: [first.slice(start.length).trimStart(), ...rest.map(headerPart)] }
}

/** True if the first line makes the block one with headers: a name and a colon, even if a value stands in the name. */
function startsHeader(line: Line): boolean {
  return HEADER.test(line.map(part => (typeof part === 'string' ? part : 'x')).join(''))
}

function splitLines(parts: readonly (string | Inserted)[]): Line[] {
  const lines: Line[] = [[]]
  for (const part of parts) {
    const [first, ...more] = typeof part === 'string' ? part.split(/\r?\n/) : [part]
    lines.at(-1)!.push(first!)
    for (const line of more) lines.push([line])
  }
  return lines.map(joinText)
}

function joinText(line: Line): Line {
  const joined: Line = []
  for (const part of line) {
    if (part === '') continue
    const last = joined.at(-1)
    if (typeof part === 'string' && typeof last === 'string') joined[joined.length - 1] = last + part
    else joined.push(part)
  }
  return joined
}

function withoutIndent(lines: Line[]): Line[] {
  const first = lines[0]?.[0]
  const indent = typeof first === 'string' ? (/^[ \t]*/.exec(first)?.[0] ?? '') : ''
  if (indent === '' || isBlank(lines[0]!)) return lines
  return lines.map(([start, ...rest]) =>
    typeof start === 'string' && start.startsWith(indent)
      ? [start.slice(indent.length), ...rest]
      : start === undefined
        ? []
        : [start, ...rest],
  )
}

function isBlank(line: Line): boolean {
  return line.every(part => typeof part === 'string' && part.trim() === '')
}

/** Arrays and mailboxes stay what they are for a header of addresses; all else is text. */
function headerPart(part: string | Inserted): string | { value: unknown } {
  if (typeof part === 'string') return part
  return { value: part.value instanceof SafeText ? String(part.value) : part.value }
}

function plain(part: string | { readonly value: unknown }): string {
  return typeof part === 'string' ? part : typeof part.value === 'string' ? part.value : ''
}

/** The text of a value in a body of that type. */
function bodyText({ value, raw, place }: Inserted, type: string): string {
  if (/^\s*(?:multipart|message)\//i.test(type))
    throw new TemplateError(
      'TEMPLATE_RENDER',
      place,
      `sendmail: a value in a ${type.split('/')[0]?.trim()} body could add parts to it; call send of the mail host with a message object instead`,
    )
  const text = textOf(value, what => new TemplateError('TEMPLATE_RENDER', place, what))
  return /html/i.test(type) && !raw && !(value instanceof SafeText) ? escapeHtml(text) : text
}
