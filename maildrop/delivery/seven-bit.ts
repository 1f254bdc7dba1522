/**
 * Rewrites a message for a server that takes less than it has: text of 8 bits where only 7 may be sent (RFC 6152), or lines
 * of more than 998 bytes (RFC 5322 section 2.1.1). Leaf parts of which that is true are encoded, text as quoted-printable
 * and everything else as base64 (RFC 2045 section 6); nothing else is changed, and the message means what it did.
 *
 * What is signed cannot be rewritten (RFC 1847 section 2.1), and headers have no such encoding. The message is read twice:
 * once to find out what has to be done, once to do it.
 */
import { pipeline, Readable, type Transform } from 'node:stream'
import { type MimeNode, Splitter, type SplitterChunk } from '@zone-eu/mailsplit'
import { Encoder as Base64Encoder } from 'nodemailer/lib/base64'
import { Encoder as QpEncoder } from 'nodemailer/lib/qp'
import { messageOf } from '../errors.ts'
import { withCrlf } from './crlf.ts'
import { hasEightBit, type Lines, lineWatch } from './lines.ts'

/** What is to be done: the encoding of each part that is to be encoded, by its number in the order of the message. */
export interface Rewriting {
  readonly encodings: ReadonlyMap<number, 'quoted-printable' | 'base64'>
  /** The charset of a message that does not tell one, because it has no MIME header at all. */
  readonly charset: string
}

/**
 * @param message the message's bytes
 * @param eightBit true if text of 8 bits is to be rewritten; lines that are too long always are
 * @returns what is to be done, or why it cannot
 */
export async function planRewriting(
  message: Readable,
  eightBit: boolean,
): Promise<Rewriting | { readonly problem: string }> {
  const found = new Map<number, { node: MimeNode; seen: Lines }>()
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let isUtf8 = true
  let number = -1
  try {
    for await (const chunk of partsOf(message)) {
      if (chunk.type === 'node') {
        number += 1
        if (eightBit && hasEightBit(chunk.getHeaders())) return { problem: 'a header of it is not ASCII' }
        found.set(number, { node: chunk, seen: lineWatch() })
      } else if (chunk.type === 'body') {
        found.get(number)?.seen.look(chunk.value)
        if (number === 0) isUtf8 &&= isValid(decoder, chunk.value)
      } else if (eightBit && hasEightBit(chunk.value))
        return { problem: 'there is text that is not ASCII between its parts' }
    }
  } catch (error) {
    return { problem: `its parts cannot be told apart: ${messageOf(error)}` }
  }
  const encodings = new Map<number, 'quoted-printable' | 'base64'>()
  for (const [at, { node, seen }] of found) {
    if (!(eightBit && seen.eightBit) && !seen.tooLong) continue
    const problem = obstacle(node)
    if (problem !== undefined) return { problem }
    encodings.set(at, /^(text\/|$)/.test(node.contentType || '') ? 'quoted-printable' : 'base64')
  }
  return { encodings, charset: isUtf8 ? 'utf-8' : 'unknown-8bit' }
}

/** The message's bytes, rewritten; lines end with CRLF. */
export function rewritten(message: Readable, plan: Rewriting): Readable {
  return Readable.from(rewrite(message, plan), { objectMode: false })
}

async function* rewrite(message: Readable, { encodings, charset }: Rewriting): AsyncGenerator<Buffer> {
  let number = -1
  let encoder: Encoding | undefined
  for await (const chunk of partsOf(message)) {
    if (chunk.type === 'body' && encoder !== undefined) {
      yield* await encoder.write(chunk.value)
      continue
    }
    if (encoder !== undefined) yield* await encoder.end()
    encoder = undefined
    if (chunk.type !== 'node') {
      yield chunk.value
      continue
    }
    number += 1
    const wanted = encodings.get(number)
    if (wanted !== undefined) {
      encoder = encoding(wanted)
      label(chunk, wanted, charset)
    } else if (isComposite(chunk) && /^(8bit|binary)$/.test(chunk.encoding || '')) label(chunk, '7bit', charset)
    yield chunk.getHeaders()
  }
  if (encoder !== undefined) yield* await encoder.end()
}

/** The header blocks, bodies, and what is between them, in order; together they are the message. */
async function* partsOf(
  message: Readable,
): AsyncGenerator<SplitterChunk & { readonly type: 'node' | 'body' | 'data' }> {
  const splitter = new Splitter({ defaultInlineEmbedded: true })
  pipeline(Readable.from(withCrlf(message), { objectMode: false }), splitter, () => undefined)
  for await (const chunk of splitter) yield chunk
}

/** Why a part cannot be encoded. */
function obstacle(node: MimeNode): string | undefined {
  for (let part: MimeNode | false = node; part; part = part.parentNode)
    if (part.multipart === 'signed') return 'a part of it is signed'
  // Messages that are parts of the text are looked into; the library leaves those closed that are attached.
  if (node.rfc822) return 'a message is attached to it, which cannot be encoded'
  if (node.multipart) return 'a part of it has text where its parts should be'
  if (/^message\//.test(node.contentType || '')) return `a part of it is ${node.contentType}`
  const said = node.encoding || '7bit'
  return /^(7bit|8bit|binary)$/.test(said) ? undefined : `a part of it is not the ${said} it says`
}

function isComposite(node: MimeNode): boolean {
  return node.multipart !== false || node.rfc822
}

function label(node: MimeNode, wanted: string, charset: string): void {
  const { headers } = node
  if (!headers) return
  headers.update('Content-Transfer-Encoding', wanted)
  if (!node.root || isComposite(node)) return
  if (headers.getFirst('content-type') === '') headers.update('Content-Type', `text/plain; charset=${charset}`)
  if (headers.getFirst('mime-version') === '') headers.update('MIME-Version', '1.0')
}

interface Encoding {
  write(bytes: Buffer): Promise<Buffer[]>
  end(): Promise<Buffer[]>
}

function encoding(wanted: 'quoted-printable' | 'base64'): Encoding {
  const stream: Transform = wanted === 'base64' ? new Base64Encoder() : new QpEncoder()
  let pieces: Buffer[] = []
  stream.on('data', (piece: Buffer) => pieces.push(piece))
  const taken = (): Buffer[] => {
    const all = pieces
    pieces = []
    return all
  }
  return {
    write: bytes =>
      new Promise((resolve, reject) => {
        stream.write(bytes, error => (error ? reject(error) : resolve(taken())))
      }),
    end: () =>
      new Promise((resolve, reject) => {
        stream.once('error', reject)
        stream.once('end', () => resolve(taken()))
        stream.end()
      }),
  }
}

function isValid(decoder: InstanceType<typeof TextDecoder>, bytes: Buffer): boolean {
  try {
    decoder.decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}
