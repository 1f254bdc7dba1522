/**
 * `maildropctl show ID`: everything about one message: its envelope, its state, its headers, and what the log says of it.
 */
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { MaildropConfig } from '../config.ts'
import { formatDuration } from '../duration.ts'
import { MaildropError, messageOf, systemCode } from '../errors.ts'
import { readLogTail } from '../log-tail.ts'
import { MAX_ENVELOPE_BYTES, parseMailHead } from '../spool/format.ts'
import { findMail, type QueuedMail } from '../spool/listing.ts'
import { pour, printable, say, sayJson } from './output.ts'

export interface ShowOptions {
  readonly id: string
  readonly body: boolean
  readonly raw: boolean
  readonly json: boolean
}

/** The part of the log that is searched, in bytes from its end. */
const LOG_PART = 16 * 1024 * 1024
const CHUNK = 64 * 1024

/** @throws {MaildropError} MAIL_NOT_FOUND, AMBIGUOUS_ID, MAIL_BUSY, INVALID_MAIL_FILE */
export async function show(
  config: Pick<MaildropConfig, 'spools' | 'logFile'>,
  { id, body, raw, json }: ShowOptions,
): Promise<void> {
  const mail = await findMail(config.spools, id)
  const file = await openMail(mail)
  try {
    if (raw) return await pourFile(needed(file, mail), 0, text => text)
    const parts = file === undefined ? undefined : await partsOf(file)
    const history = (await readLogTail(config.logFile, LOG_PART)).split('\n').filter(line => isAbout(line, mail.id))
    if (json) return sayJson({ ...mail, headers: parts?.headers ?? [], history })
    print(mail, history)
    if (parts !== undefined) say(['', ...parts.headers.map(printable)].join('\n'))
    if (body) await pourFile(needed(file, mail), needed(parts, mail).bodyAt, text => printableLines(text.toString()))
  } finally {
    await file?.close()
  }
}

function print(mail: QueuedMail, history: readonly string[]): void {
  const now = Date.now()
  const since = formatDuration((now - Date.parse(mail.arrived)) / 1000)
  const next = mail.next === undefined ? '' : `, next attempt ${mail.next}`
  const rows: [string, string][] = [
    ['id', mail.id],
    ['state', `${mail.status}${next}`],
    ['file', mail.path],
    ['size', `${mail.size} bytes`],
    ['arrived', `${mail.arrived}, ${since} ago`],
    ['attempts', String(mail.attempts)],
    ['sender', mail.from === undefined ? 'unknown' : mail.from || '<>'],
    ...(mail.problem === undefined ? [] : [['problem', mail.problem] as [string, string]]),
  ]
  for (const [name, value] of rows) say(`${name.padEnd(8)}  ${printable(value)}`)
  say('recipients')
  for (const { address, status, reply, at } of mail.recipients)
    say(`  ${printable([address, status, at, reply].filter(Boolean).join('  '))}`)
  if (history.length === 0) return
  say('history')
  for (const line of history) say(`  ${printable(line)}`)
}

/** A line of either format of the log that has this id. */
function isAbout(line: string, id: string): boolean {
  return line.includes(` id=${id} `) || line.endsWith(` id=${id}`) || line.includes(`"id":${JSON.stringify(id)}`)
}

/** Undefined for what is no file: a link is never followed, and nothing is waited for. */
async function openMail({ path }: QueuedMail): Promise<FileHandle | undefined> {
  let file: FileHandle
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') throw new MaildropError('MAIL_BUSY', `${path} has just moved on; look again`)
    if (['ELOOP', 'ENXIO'].includes(systemCode(error) ?? '')) return undefined
    throw new MaildropError('SPOOL_DENIED', `cannot read ${path}: ${messageOf(error)}`, { path, cause: error })
  }
  if ((await file.stat()).isFile()) return file
  await file.close()
  return undefined
}

function needed<T>(part: T | undefined, { path }: QueuedMail): T {
  if (part === undefined) throw new MaildropError('INVALID_MAIL_FILE', `${path} is no mail file`, { path })
  return part
}

/** The lines of the header, and where the body begins; undefined for a file that is no mail. */
async function partsOf(file: FileHandle): Promise<{ headers: string[]; bodyAt: number } | undefined> {
  const { size } = await file.stat()
  const buffer = Buffer.alloc(Math.min(size, MAX_ENVELOPE_BYTES))
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0)
  const bytes = buffer.subarray(0, bytesRead)
  const head = parseMailHead(bytes, size)
  if (head.kind !== 'mail') return undefined
  const text = bytes.toString('latin1', head.start)
  const end = /^(?=\r?\n)|\r?\n(?=\r?\n)/.exec(text)
  const length = end === null ? text.length : end.index + end[0].length
  const headers = bytes
    .subarray(head.start, head.start + length)
    .toString()
    .split(/\r?\n/)
  return { headers: headers.filter(line => line !== ''), bodyAt: head.start + length }
}

async function pourFile(file: FileHandle, from: number, shown: (text: Buffer) => string | Buffer): Promise<void> {
  const buffer = Buffer.alloc(CHUNK)
  for (let at = from; ; ) {
    const { bytesRead } = await file.read(buffer, 0, CHUNK, at)
    if (bytesRead === 0 || !(await pour(shown(Buffer.from(buffer.subarray(0, bytesRead)))))) return
    at += bytesRead
  }
}

function printableLines(text: string): string {
  return text.replace(/\r\n/g, '\n').replace(/[^\n\t]+/g, printable)
}
