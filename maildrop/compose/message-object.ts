/**
 * Reads a message from a nodemailer message object.
 *
 * Its addresses, subject and other headers go the way of every message here (strict, encoded, one line each); nodemailer
 * builds the body of `text`, `html`, `attachments`, `alternatives` and `icalEvent`. No file is opened and no URL fetched
 * for it, unless the caller allows it. A field that is not known is refused, not ignored.
 */
import MailComposer, { type MailComposerOptions } from 'nodemailer/lib/mail-composer'
import { messageOf, systemCode } from '../errors.ts'
import { type BodyOptions, checkDescription } from './body.ts'
import { ComposeError } from './errors.ts'
import { type HeaderPart, shown } from './header-parts.ts'
import { type Header, removeHeaders } from './headers.ts'
import { type ListInput, listHeaders } from './list-headers.ts'
import { type Draft, readMessage } from './message-text.ts'
import { withStandardNames } from './mime.ts'

/** A mailbox as nodemailer takes it. */
export interface MailboxInput {
  readonly name?: string
  readonly address: string
}
export type AddressInput = string | MailboxInput | readonly (string | MailboxInput)[]
export type ExtraHeaders =
  | Readonly<Record<string, string | readonly string[]>>
  | readonly { readonly key: string; readonly value: string }[]

/** nodemailer's message object, in the parts that make a message. */
export interface MessageObject
  extends Pick<
    MailComposerOptions,
    'text' | 'html' | 'watchHtml' | 'amp' | 'icalEvent' | 'attachments' | 'alternatives' | 'encoding' | 'textEncoding'
  > {
  readonly from?: string | MailboxInput
  readonly sender?: string | MailboxInput
  readonly replyTo?: AddressInput
  readonly to?: AddressInput
  readonly cc?: AddressInput
  readonly bcc?: AddressInput
  readonly subject?: string
  readonly messageId?: string
  readonly inReplyTo?: string
  readonly references?: string | readonly string[]
  readonly date?: Date | string
  readonly headers?: ExtraHeaders
  readonly list?: ListInput
}

const HEADER_FIELDS = {
  from: 'From',
  sender: 'Sender',
  replyTo: 'Reply-To',
  to: 'To',
  cc: 'Cc',
  bcc: 'Bcc',
  subject: 'Subject',
  messageId: 'Message-ID',
  inReplyTo: 'In-Reply-To',
  references: 'References',
  date: 'Date',
} as const
const CONTENT_FIELDS = [
  'text',
  'html',
  'watchHtml',
  'amp',
  'icalEvent',
  'attachments',
  'alternatives',
  'encoding',
  'textEncoding',
]

/** What lies outside a message object. */
export type Outside = 'files' | 'urls'

/** nodemailer applies the transfer encoding to the text; type and charset are for a text alone. */
interface ContentOptions extends BodyOptions {
  /** What the message may take its contents from (`path`, `href`). */
  readonly allow?: readonly Outside[] | undefined
}

/** @throws {ComposeError} BAD_MESSAGE, BAD_ENCODING */
export async function readMessageObject(message: MessageObject, options: ContentOptions): Promise<Draft> {
  for (const field of Object.keys(message))
    if (!(field in HEADER_FIELDS) && !['headers', 'list', ...CONTENT_FIELDS].includes(field))
      throw new ComposeError(
        'BAD_MESSAGE',
        `the message object has a field '${field}', which is none of ${[...Object.keys(HEADER_FIELDS), 'headers', 'list', ...CONTENT_FIELDS].join(', ')}`,
      )
  const text = onlyText(message)
  const { headers, body } = text ?? (await readContent(message, options))
  if (text === undefined) checkDescription(headers, options)
  return {
    headers: [
      ...namedHeaders(message),
      ...extraHeaders(message.headers ?? []),
      ...listHeaders(message.list ?? {}),
      ...headers,
    ],
    body,
  }
}

function namedHeaders(message: MessageObject): Header[] {
  return Object.entries(HEADER_FIELDS).flatMap(([field, name]) => {
    const value = message[field as keyof typeof HEADER_FIELDS]
    return value === undefined || value === null ? [] : [{ name, parts: headerParts(field, value) }]
  })
}

/** A string of addresses is a list as its author wrote it; everything else is a value. */
function headerParts(field: string, value: unknown): HeaderPart[] {
  if (field === 'references' && Array.isArray(value)) return [value.join(' ')]
  return typeof value === 'string' && field !== 'subject' ? [value] : [{ value }]
}

function extraHeaders(headers: ExtraHeaders): Header[] {
  const entries: [string, unknown][] = Array.isArray(headers)
    ? headers.map(({ key, value }) => [key, value])
    : Object.entries(headers).flatMap(([key, value]) => [value].flat().map((one): [string, unknown] => [key, one]))
  return entries.map(([name, value]) => {
    if (typeof value !== 'string')
      throw new ComposeError('BAD_MESSAGE', `headers: expected text for ${shown([name])}, found ${typeof value}`)
    return { name, parts: [value] }
  })
}

/** A text without anything beside it needs nobody to build it: it is a body as any other. */
function onlyText(message: MessageObject): Draft | undefined {
  const fields = CONTENT_FIELDS.filter(field => message[field as keyof MessageObject] !== undefined)
  const isText = typeof message.text === 'string' && fields.length === 1
  return isText ? { headers: [], body: message.text as string } : undefined
}

/** A function among them would be called as if it were nodemailer's own. @throws {ComposeError} BAD_MESSAGE */
function checkContent(place: string, content: unknown): void {
  if (content !== undefined && typeof content !== 'string' && typeof content !== 'object')
    throw new ComposeError('BAD_MESSAGE', `${place}: expected text, bytes or a stream, found a ${typeof content}`)
}

function partsOf(field: string, parts: unknown): Record<string, unknown>[] {
  const isPart = (part: unknown): part is Record<string, unknown> => typeof part === 'object' && part !== null
  const list = parts ?? []
  if (Array.isArray(list) && list.every(isPart)) return list
  throw new ComposeError('BAD_MESSAGE', `${field}: expected a list of objects`)
}

async function readContent(message: MessageObject, { encode, allow = [] }: ContentOptions): Promise<Draft> {
  const strange = allow.find(each => each !== 'files' && each !== 'urls')
  if (strange !== undefined)
    throw new ComposeError('BAD_MESSAGE', `allow: expected files, urls, found ${JSON.stringify(strange)}`)
  for (const field of ['text', 'html', 'watchHtml', 'amp', 'icalEvent'] as const) checkContent(field, message[field])
  for (const field of ['attachments', 'alternatives'] as const)
    for (const [i, part] of partsOf(field, message[field]).entries())
      for (const name of ['content', 'raw']) checkContent(`${field}[${i}].${name}`, part[name])
  const content = Object.fromEntries(Object.entries(message).filter(([field]) => CONTENT_FIELDS.includes(field)))
  const options: MailComposerOptions = {
    ...content,
    disableFileAccess: !allow.includes('files'),
    disableUrlAccess: !allow.includes('urls'),
  }
  if (encode === 'base64' || encode === 'quoted-printable') options.textEncoding = encode
  try {
    const built = await withStandardNames(new MailComposer(options).compile()).build()
    const { headers, body } = readMessage(built)
    return { headers: removeHeaders(headers, 'message-id', 'date', 'mime-version'), body }
  } catch (cause) {
    const remedy = REMEDIES[systemCode(cause) ?? ''] ?? ''
    throw new ComposeError(
      'BAD_MESSAGE',
      `the content of the message could not be built: ${messageOf(cause)}${remedy}`,
      {
        cause,
      },
    )
  }
}

/** By nodemailer's code. */
const REMEDIES: Readonly<Record<string, string>> = {
  EFILEACCESS: "; give the content itself, or say allow: ['files'] if nobody else chooses the path",
  EURLACCESS: "; give the content itself, or say allow: ['urls'] if nobody else chooses the address",
}
