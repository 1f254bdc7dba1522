/** What is sent: messages of a given size from and to addresses of nobody. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatMailFile, newMailId } from 'maildrophost/maildrop'

export const FROM = 'sender@example.org'
export const TO = 'ann@example.org'
/** A sender of few messages beside one of many. */
export const OTHER = 'other@example.org'

const LINE = 'The quick brown fox jumps over the lazy dog, and nobody minds.\r\n'

/** A body of about `size` bytes. */
export const body = (size: number): string => LINE.repeat(Math.ceil(size / LINE.length))

/** An RFC 5322 message of about `size` bytes. */
export function message(size: number): Buffer {
  const head = `From: ${FROM}\r\nTo: ${TO}\r\nSubject: a benchmark\r\nMessage-ID: <1@example.org>\r\nDate: Mon, 2 Jan 2023 10:00:00 +0000\r\n\r\n`
  return Buffer.from(head + body(size - head.length))
}

/**
 * Puts messages into a directory of a spool that no daemon serves yet; nothing is synced.
 * @param nameOf makes the file's name from the message's id
 */
export function fill(directory: string, count: number, size: number, nameOf = (id: string): string => id): void {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const content = message(size)
  for (let i = 0; i < count; i++) {
    const id = newMailId()
    writeFileSync(join(directory, nameOf(id)), formatMailFile({ id, from: FROM, to: [TO] }, content), { mode: 0o600 })
  }
}
