/**
 * A message as it goes over the wire: the bytes of the mail file with its Bcc header removed (the recipients in it are
 * untouched, they are in the envelope) and, if asked for, a Message-ID added. Nothing else is changed here.
 *
 * Small messages are in memory already, large ones are streamed from the open file. Line endings are made CRLF and dots
 * are stuffed by nodemailer's stream behind this one, which also ends a bare CR or LF as CRLF; so a bare CR ends a
 * header line here too.
 */
import { read } from 'node:fs'
import { hostname } from 'node:os'
import { Readable } from 'node:stream'
import type { ReadyMail } from '../spool/inspect.ts'
import { discarding } from './garbage.ts'

/** Is told how far the transfer of a message has come. */
export interface Progress {
  /** Another piece is asked for, which means that those before it are on their way. */
  piece(): void
  /** All pieces are on their way. */
  dot(): void
}

export interface Outgoing {
  /** The id of the mail. */
  readonly id: string
  /** True if this is not its first transaction: it may have been delivered already. */
  readonly repeated: boolean
  /** Bytes to be sent; from `fit` on with the line ends that are sent (RFC 1870 section 3). */
  readonly size: number
  /** The Message-ID as it is sent, where there is one. */
  readonly messageId: string | undefined
  /** The message's bytes, to be read before it is sent. */
  peek(): Readable
  /** Shows all of the message's bytes, piece by piece in the same buffer; none may be kept. */
  scan(visit: (piece: Buffer) => void): Promise<void>
  /** The message's bytes, to be sent, once: behind the last of them `beforeDot` has been called. */
  open(progress?: Progress): Readable
  /** The bytes of a small message, which needs no stream; `ready` has to be called before any of them is sent. */
  readonly small: Small | undefined
}

export interface Small {
  readonly bytes: Buffer
  /** True if it is known that no dot is to be stuffed, and no line end to be changed. */
  readonly wireReady: boolean
  /** Does what `beforeDot` does, and tells that all is on its way. Throws if nothing may be sent. */
  ready(progress: Progress): void
}

/** What of a mail file is sent. */
export type MailBytes = Pick<ReadyMail, 'fd' | 'bytes' | 'start' | 'size'>

const CHUNK = 64 * 1024
const SHORTER = 'the mail file became shorter while it was sent'
/** Bytes of a Message-ID field that are looked at; a line has at most 998. */
const MAX_MESSAGE_ID = 1000
const LF = 0x0a
const CR = 0x0d
const COLON = 0x3a
const SPACE = 0x20
const TAB = 0x09
/** Lengths of the names of fields that are looked for. */
const NAME_LENGTHS = new Set(['bcc', 'message-id'].map(name => name.length))

/**
 * @param mail the open mail file; it has to stay open until the stream has ended
 * @param options `messageId` is added if the message has none; `beforeDot` runs when all bytes are out and before the
 *   final dot; if it throws, the dot is never sent
 * @returns a problem in words if the header block does not end within the part of the file that is in memory
 */
export function outgoing(
  mail: MailBytes,
  options: Pick<Outgoing, 'id' | 'repeated' | 'messageId'> & { readonly beforeDot: () => void },
): Outgoing | { readonly problem: string } {
  const head = mail.bytes.subarray(mail.start)
  const header = scanHeader(head, mail.start + head.length === mail.size)
  if (header === undefined) return { problem: `the header of the message is longer than ${head.length} bytes` }
  const added =
    options.messageId && header.messageId === undefined ? [Buffer.from(`Message-ID: ${options.messageId}\r\n`)] : []
  const isUnchanged = added.length === 0 && header.kept[0]?.length === header.end
  // In one piece, because every piece is a packet of its own.
  const start = isUnchanged ? head : Buffer.concat([...added, ...header.kept, head.subarray(header.end)])
  return {
    id: options.id,
    repeated: options.repeated,
    size: start.length + mail.size - mail.bytes.length,
    messageId: header.messageId ?? options.messageId,
    peek: () => streamOf(mail, start, {}),
    scan: visit => scanFile(mail, start, visit),
    open: progress => streamOf(mail, start, { beforeDot: options.beforeDot, progress }),
    small: mail.size > mail.bytes.length || start.length > CHUNK ? undefined : smallOf(start, options.beforeDot),
  }
}

function smallOf(bytes: Buffer, beforeDot: () => void): Small {
  return {
    bytes,
    wireReady: false,
    ready(progress) {
      progress.piece()
      beforeDot()
      progress.dot()
    },
  }
}

/** Without a stream, and so without garbage, of which V8 does not see how much memory is behind it. */
async function scanFile(mail: MailBytes, start: Buffer, visit: (piece: Buffer) => void): Promise<void> {
  visit(start)
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK, mail.size - mail.bytes.length))
  for (let at = mail.bytes.length; at < mail.size; ) {
    const count = await readInto(mail.fd, buffer.subarray(0, mail.size - at), at)
    if (count === 0) throw new Error(SHORTER)
    visit(buffer.subarray(0, count))
    at += count
  }
}

/** The same for the bytes of a stream. */
export async function scanStream(bytes: Readable, visit: (piece: Buffer) => void): Promise<void> {
  for await (const piece of bytes) visit(piece as Buffer)
}

const readInto = (fd: number, buffer: Buffer, at: number): Promise<number> =>
  new Promise((resolve, reject) => {
    read(fd, buffer, 0, buffer.length, at, (error, count) => (error ? reject(error) : resolve(count)))
  })

/** What stands at the start of the message, and then the rest of the file. */
function streamOf(
  mail: MailBytes,
  start: Buffer,
  { beforeDot, progress }: { readonly beforeDot?: () => void; readonly progress?: Progress | undefined },
): Readable {
  let at = mail.bytes.length
  let started = start.length === 0
  return new Readable({
    highWaterMark: CHUNK,
    read() {
      progress?.piece()
      if (!started) {
        started = true
        this.push(start)
      } else if (at < mail.size) {
        const buffer = Buffer.allocUnsafe(Math.min(CHUNK, mail.size - at))
        discarding(buffer.length)
        read(mail.fd, buffer, 0, buffer.length, at, (error, count) => {
          if (error) return this.destroy(error)
          if (count === 0) return this.destroy(new Error(SHORTER))
          at += count
          this.push(buffer.subarray(0, count))
        })
      } else {
        try {
          beforeDot?.()
          progress?.dot()
          this.push(null)
        } catch (error) {
          this.destroy(error as Error)
        }
      }
    },
  })
}

/** The header of a message as it is sent, and all of it if it is in memory. */
export function splitMessage(mail: ReadyMail): { readonly header: Buffer; readonly whole: Buffer | undefined } {
  const head = mail.bytes.subarray(mail.start)
  const isWhole = mail.start + head.length === mail.size
  const found = scanHeader(head, isWhole)
  if (found === undefined) return { header: Buffer.alloc(0), whole: undefined }
  const header = Buffer.concat(found.kept)
  return { header, whole: isWhole ? Buffer.concat([header, head.subarray(found.end)]) : undefined }
}

/** A Message-ID that is the same in every attempt: made of the mail's id and the sender's domain. */
export function stableMessageId(id: string, from: string): string {
  const domain = /@([a-z0-9.-]+)$/i.exec(from)?.[1] ?? (hostname().replace(/[^A-Za-z0-9.-]/g, '-') || 'localhost')
  return `<${id}@${domain}>`
}

interface Header {
  /** The pieces of the header block that are sent. */
  readonly kept: readonly Buffer[]
  /** Where the rest begins: the blank line, or the first line that is no header. */
  readonly end: number
  /** The Message-ID; empty if there is such a header without one. */
  readonly messageId: string | undefined
}

/** @returns undefined if the bytes end before the header block does; `whole` says that no more bytes follow */
function scanHeader(bytes: Buffer, whole: boolean): Header | undefined {
  const kept: Buffer[] = []
  let keptFrom = 0
  let messageId: string | undefined
  let removing = false
  let at = 0
  while (at < bytes.length) {
    const first = bytes[at]
    const next = lineEnd(bytes, at)
    if (next === undefined && !whole) return undefined
    const end = next ?? bytes.length
    const continues = first === SPACE || first === TAB
    if (!continues || at === 0) {
      const name = fieldName(bytes, at, end)
      if (name === undefined) break
      if (name === 'message-id') messageId ??= messageIdIn(bytes, at)
      const remove = name === 'bcc'
      if (remove && !removing) kept.push(...wholeLines(bytes.subarray(keptFrom, at)))
      if (!remove && removing) keptFrom = at
      removing = remove
    }
    at = end
  }
  if (at >= bytes.length && !whole) return undefined
  if (!removing) kept.push(bytes.subarray(keptFrom, at))
  return { kept, end: at, messageId }
}

/** A piece that ends in a bare CR must not make a CRLF with an LF that comes to stand behind it. */
function wholeLines(piece: Buffer): Buffer[] {
  return piece.at(-1) === CR ? [piece, Buffer.of(LF)] : [piece]
}

/** What stands in angle brackets behind the field name, on its line or the next. */
function messageIdIn(bytes: Buffer, from: number): string {
  const field = bytes.toString('latin1', from, from + MAX_MESSAGE_ID)
  return /^[^:]*:\s*(<[!-;=?-~]+>)/.exec(field)?.[1] ?? ''
}

/** The start of the next line, or undefined if the line does not end. */
function lineEnd(bytes: Buffer, from: number): number | undefined {
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte > CR) continue
    if (byte === LF) return at + 1
    if (byte === CR) return bytes[at + 1] === LF ? at + 2 : at + 1
  }
  return undefined
}

/** The name of a header field (RFC 5322 section 2.2) in lower case  if it is as long as one that is looked for, otherwise empty; undefined if the line is none. */
function fieldName(bytes: Buffer, from: number, to: number): string | undefined {
  let end = from
  while (end < to && isNameByte(bytes[end]!)) end += 1
  let colon = end
  while (colon < to && (bytes[colon] === SPACE || bytes[colon] === TAB)) colon += 1
  if (end === from || colon === to || bytes[colon] !== COLON) return undefined
  return NAME_LENGTHS.has(end - from) ? bytes.toString('latin1', from, end).toLowerCase() : ''
}

/** Printable ASCII without the blank and the colon. */
function isNameByte(byte: number): boolean {
  return byte > SPACE && byte < 0x7f && byte !== COLON
}
