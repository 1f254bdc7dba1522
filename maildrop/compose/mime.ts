/**
 * Messages of several parts (RFC 2045, RFC 2046): a tree of entities becomes the body of a message.
 *
 * A text goes the way of every text body here; data become an attachment. nodemailer builds the tree, its boundaries and the
 * parameters of its headers. HTML of which nobody wrote a plain text is given one, in an alternative around it, so that every
 * receiver can read the message.
 */
import { buildHeaderValue, parseHeaderValue } from 'nodemailer/lib/mime-funcs'
import { detectMimeType } from 'nodemailer/lib/mime-funcs/mime-types'
import MimeNode from 'nodemailer/lib/mime-node'
import { type Encoding, encodeBody } from './body.ts'
import { ComposeError } from './errors.ts'
import { shown } from './header-parts.ts'
import { cleanText, encodeText } from './header-text.ts'
import { formatHeader, type Header, removeHeaders } from './headers.ts'
import { type Draft, readMessage } from './message-text.ts'

export type Entity = Multipart | TextEntity | DataEntity

export interface Multipart {
  readonly kind: 'multipart'
  readonly subtype: 'mixed' | 'alternative' | 'related'
  readonly parts: readonly Entity[]
}

interface Leaf {
  /** The media type, such as `text/html`. */
  readonly type?: string | undefined
  readonly disposition?: 'inline' | 'attachment' | undefined
  /** The name that the receiver sees. */
  readonly filename?: string | undefined
  /** The Content-ID without its brackets: what `cid:` in HTML names. */
  readonly contentId?: string | undefined
  readonly description?: string | undefined
  /** Of text only: the character set, and the transfer encoding. */
  readonly charset?: string | undefined
  readonly encode?: Encoding | undefined
}

export interface TextEntity extends Leaf {
  readonly kind: 'text'
  readonly text: string
  /** False if no plain text is to be made of this HTML. */
  readonly alternative?: boolean | undefined
}

/** `data` is text, or bytes (of text, in its character set); without a type it is told from the file name. */
export interface DataEntity extends Leaf {
  readonly kind: 'data'
  readonly data: unknown
}

/** @throws {ComposeError} BAD_MESSAGE, BAD_HEADER, BAD_ENCODING */
export async function readEntity(entity: Multipart): Promise<Draft> {
  const root = await withPlainText(entity)
  if (root.kind !== 'multipart') throw new ComposeError('BAD_MESSAGE', 'a message of parts begins with a multipart')
  const built = await withStandardNames(multipartNode(root, undefined)).build()
  const { headers, body } = readMessage(built)
  return { headers: removeHeaders(headers, 'message-id', 'date', 'mime-version'), body }
}

/**
 * Moves the file names that are not plain ASCII to Content-Disposition alone, in the form of RFC 2231. nodemailer writes them into
 * Content-Type as well, as encoded-words in quotes, which RFC 2047 section 5 forbids and strict parsers object to.
 */
export function withStandardNames(node: MimeNode): MimeNode {
  const { filename } = node
  if (filename !== undefined && !/^[\w .-]{1,60}$/.test(filename)) {
    const { value } = parseHeaderValue(String(node.getHeader('Content-Disposition') ?? 'attachment'))
    const disposition = buildHeaderValue({ value, params: { filename: cleanText(filename) } })
    node.setHeader('Content-Disposition', { prepared: true, foldLines: true, value: disposition })
    delete node.filename
  }
  node.childNodes.forEach(withStandardNames)
  return node
}

function multipartNode({ subtype, parts }: Multipart, parent: MimeNode | undefined): MimeNode {
  if (parts.length === 0)
    throw new ComposeError('BAD_MESSAGE', `the multipart/${subtype} has no parts; RFC 2046 asks for one at least`)
  const type = `multipart/${subtype}`
  const node = parent ? parent.createChild(type) : new MimeNode(type, { newline: 'win' })
  for (const part of parts) {
    if (part.kind === 'multipart') multipartNode(part, node)
    else if (part.kind === 'text') textNode(part, node)
    else dataNode(part, node)
  }
  return node
}

function textNode(entity: TextEntity, parent: MimeNode): void {
  const type = mediaType(entity.type ?? 'text/plain')
  if (!type.startsWith('text/'))
    throw new ComposeError('BAD_MESSAGE', `a part of text cannot be of type ${shown([type])}; expected text/…`)
  const { charset, encode } = entity
  parent.createChild(type).setRaw(rawEntity(leafHeaders(entity), entity.text, { type, charset, encode }))
}

function dataNode(entity: DataEntity, parent: MimeNode): void {
  const { type, filename, disposition = 'attachment', charset, encode } = entity
  const bytes = bytesOf(entity)
  if (charset !== undefined || (encode !== undefined && encode !== 'base64')) {
    writtenNode(entity, parent)
    return
  }
  if (type !== undefined && /^message\//i.test(type)) {
    // RFC 2046 section 5.2: such a part is not encoded, so that its own parts can be read
    const headers = [header('Content-Type', mediaType(type)), ...leafHeaders({ ...entity, disposition })]
    parent.createChild(type).setRaw(rawEntity(headers, bytes, {}))
    return
  }
  const name = filename === undefined ? undefined : cleanText(filename)
  const node = parent.createChild(type === undefined ? false : mediaType(type), name ? { filename: name } : {})
  if (type === undefined && !name) node.setHeader('Content-Type', 'application/octet-stream')
  const told = String(node.getHeader('Content-Type'))
  if (typeof entity.data === 'string' && told.startsWith('text/'))
    node.setHeader('Content-Type', `${told}; charset=utf-8`)
  node.setHeader('Content-Transfer-Encoding', 'base64')
  for (const { name, parts } of leafHeaders({ ...entity, disposition, filename: undefined }))
    node.setHeader(name, parts.join(''))
  node.setContent(bytes)
}

/** An attachment of text in a character set or transfer encoding of its own. */
function writtenNode(entity: DataEntity, parent: MimeNode): void {
  const { data, filename, disposition = 'attachment', charset, encode } = entity
  const type = mediaType(entity.type ?? detectMimeType(filename === undefined ? undefined : cleanText(filename)))
  if (!type.startsWith('text/'))
    throw new ComposeError(
      'BAD_ENCODING',
      `charset and encode are for attachments of text, found ${type}; other data are sent as base64`,
    )
  const content = typeof data === 'string' ? data : bytesOf(entity)
  parent
    .createChild(type)
    .setRaw(rawEntity(leafHeaders({ ...entity, disposition }), content, { type, charset, encode }))
}

function rawEntity(headers: Header[], body: string | Uint8Array, options: Parameters<typeof encodeBody>[1]): Buffer {
  const encoded = encodeBody({ headers, body }, options)
  const head = removeHeaders(encoded.headers, 'mime-version').map(formatHeader).join('')
  return Buffer.concat([Buffer.from(`${head}\r\n`), encoded.content])
}

function leafHeaders({ disposition, filename, contentId, description }: Leaf): Header[] {
  const headers: Header[] = []
  const name = filename === undefined ? '' : cleanText(filename)
  if (disposition !== undefined || name !== '') {
    const params: Record<string, string> = name === '' ? {} : { filename: name }
    headers.push(header('Content-Disposition', buildHeaderValue({ value: disposition ?? 'attachment', params })))
  }
  if (contentId !== undefined) headers.push(header('Content-ID', `<${checkContentId(contentId)}>`))
  if (description !== undefined) headers.push(header('Content-Description', encodeText(description)))
  return headers
}

const header = (name: string, value: string): Header => ({ name, parts: [value] })

function mediaType(type: string): string {
  if (/^[\w.+-]+\/[\w.+-]+$/.test(type) && !/^multipart\//i.test(type)) return type.toLowerCase()
  throw new ComposeError(
    'BAD_HEADER',
    `type of a part: expected a media type such as text/html, found ${shown([type])}`,
  )
}

function checkContentId(id: string): string {
  if (/^[\x21-\x3b\x3d\x3f-\x7e]+$/.test(id)) return id
  throw new ComposeError('BAD_HEADER', `cid of a part: expected a word without blanks, < or >, found ${shown([id])}`)
}

function bytesOf({ data, filename }: DataEntity): Buffer {
  if (typeof data === 'string') return Buffer.from(data)
  if (data instanceof Uint8Array) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const found = data === null ? 'null' : Array.isArray(data) ? 'a list' : typeof data
  const which = filename === undefined ? 'an attachment' : `the attachment ${shown([filename])}`
  throw new ComposeError('BAD_MESSAGE', `${which}: expected text, bytes, or a File or Blob of the tree, found ${found}`)
}

/** Puts an alternative with a plain text around each HTML that has none and is to have one. */
async function withPlainText(entity: Entity, around?: Multipart['subtype']): Promise<Entity> {
  if (entity.kind === 'data') return entity
  if (entity.kind === 'multipart') {
    const parts = await Promise.all(entity.parts.map(part => withPlainText(part, entity.subtype)))
    const filled = { ...entity, parts }
    if (entity.subtype === 'mixed') return filled
    if (entity.subtype === 'alternative') {
      const html = entity.parts.map(htmlOf).find(text => text !== undefined)
      const isPlain = (part: Entity) => part.kind === 'text' && (part.type ?? 'text/plain') === 'text/plain'
      if (html === undefined || entity.parts.some(isPlain)) return filled
      return { ...entity, parts: [await plainText(html), ...parts] }
    }
    return around === 'alternative' ? filled : await alternative(filled)
  }
  return around === 'alternative' || around === 'related' ? entity : await alternative(entity)
}

async function alternative(entity: Entity): Promise<Entity> {
  const html = htmlOf(entity)
  if (html === undefined) return entity
  return { kind: 'multipart', subtype: 'alternative', parts: [await plainText(html), entity] }
}

/** The HTML that a receiver shows for the entity, if it is to be given a plain text. */
function htmlOf(entity: Entity): string | undefined {
  if (entity.kind === 'multipart')
    return entity.subtype === 'related' && entity.parts[0] ? htmlOf(entity.parts[0]) : undefined
  if (entity.kind === 'data' || entity.alternative === false || entity.disposition === 'attachment') return undefined
  return entity.type?.toLowerCase() === 'text/html' && entity.filename === undefined ? entity.text : undefined
}

async function plainText(html: string): Promise<TextEntity> {
  const { convert } = await import('html-to-text')
  const text = convert(html, {
    wordwrap: 76,
    limits: { maxDepth: 200 },
    selectors: [
      { selector: 'a', options: { hideLinkHrefIfSameAsText: true, linkBrackets: ['<', '>'] } },
      { selector: 'img', format: 'skip' },
      { selector: 'table', format: 'dataTable', options: { uppercaseHeaderCells: false } },
      ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map(selector => ({ selector, options: { uppercase: false } })),
    ],
  })
  return { kind: 'text', type: 'text/plain', text: `${text}\n` }
}
