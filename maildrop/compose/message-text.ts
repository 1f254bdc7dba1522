/**
 * Reads a message from text (RFC 5322 §2.1): headers, a blank line, the body.
 *
 * A text whose first line is not a header has no headers: all of it is body. Lines end with CRLF or LF. Bytes are
 * read as UTF-8 in the headers and kept as they are in the body.
 */
import { ComposeError } from './errors.ts'
import type { Header } from './headers.ts'

export interface Draft {
  readonly headers: Header[]
  /** Text, or bytes in the character set that the headers declare. */
  readonly body: string | Uint8Array
}

const HEADER_LINE = /^[\x21-\x39\x3b-\x7e]+[ \t]*:/

/** @throws {ComposeError} BAD_HEADER naming the line */
export function readMessage(message: string | Uint8Array): Draft {
  const text =
    typeof message === 'string'
      ? message
      : Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('latin1')
  const end = endOfHeaders(text)
  const head = typeof message === 'string' ? text.slice(0, end.head) : utf8(text.slice(0, end.head))
  const body = typeof message === 'string' ? text.slice(end.body) : message.subarray(end.body)
  return { headers: readHeaders(head), body }
}

/** Where the headers end and where the body begins. */
function endOfHeaders(text: string): { head: number; body: number } {
  const blank = /^\r?\n/.exec(text)
  if (blank) return { head: 0, body: blank[0].length }
  if (!HEADER_LINE.test(text)) return { head: 0, body: 0 }
  const found = /\r?\n\r?\n/.exec(text)
  return found ? { head: found.index, body: found.index + found[0].length } : { head: text.length, body: text.length }
}

function readHeaders(head: string): Header[] {
  const headers: { name: string; text: string; lines: string }[] = []
  if (head === '') return []
  for (const [i, line] of head
    .replace(/\r?\n$/, '')
    .split(/\r?\n/)
    .entries()) {
    const last = headers.at(-1)
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(line))
      throw new ComposeError('BAD_HEADER', `line ${i + 1} of the message: a control character in a header`)
    if (/^[ \t]/.test(line) && last) {
      last.text += line
      last.lines += `${line}\r\n`
    } else if (HEADER_LINE.test(line)) {
      const colon = line.indexOf(':')
      headers.push({ name: line.slice(0, colon).trimEnd(), text: line.slice(colon + 1), lines: `${line}\r\n` })
    } else {
      throw new ComposeError(
        'BAD_HEADER',
        `line ${i + 1} of the message: expected a header ("Name: value") or the blank line before the body, found ${JSON.stringify(line.slice(0, 80))}`,
      )
    }
  }
  return headers.map(({ name, text, lines }) => ({ name, parts: [text.trim()], lines }))
}

function utf8(latin1: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(latin1, 'latin1'))
  } catch (cause) {
    throw new ComposeError('BAD_HEADER', 'the headers of the message are not UTF-8', { cause })
  }
}
