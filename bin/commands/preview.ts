/**
 * What a page would send, for people and for programs: envelope, headers and parts of each message. HTML goes into a file of
 * a new directory under the system's temporary one, to be looked at in a browser.
 */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import PostalMime, { decodeWords, type Email } from 'postal-mime'
import { say } from '../../maildrop/commands/output.ts'
import type { PreviewedMessage } from '../../objects/index.ts'
import { printable } from '../printable.ts'

/** @param page what the template renders to besides */
export async function showMessages(
  messages: readonly PreviewedMessage[],
  page: string,
  asJson: boolean,
): Promise<void> {
  const read = await Promise.all(
    messages.map(async message => ({ message, email: await PostalMime.parse(message.content) })),
  )
  if (asJson) return say(JSON.stringify({ page, messages: read.map(asData) }, null, 2))
  if (read.length === 0) say('the page sends no mail')
  const directory = read.some(({ email }) => email.html) ? await mkdtemp(join(tmpdir(), 'objtree-preview-')) : ''
  for (const [i, { message, email }] of read.entries()) {
    say(`message ${i + 1} of ${read.length}, ${message.content.length} bytes, through ${message.host}`)
    say(`  sender      ${printable(message.envelope.from || '<>')}`)
    for (const recipient of message.envelope.to) say(`  recipient   ${printable(recipient)}`)
    for (const { originalKey, value } of email.headers) say(`  ${originalKey}: ${printable(decodeWords(value))}`)
    if (email.text) say(`\n${indented(email.text)}`)
    if (email.html) {
      const file = join(directory, `message-${i + 1}.html`)
      await writeFile(file, email.html, { mode: 0o600 })
      say(`  HTML        ${file}`)
    }
    for (const part of attachmentsOf(email))
      say(`  attachment  ${printable(part.filename ?? '(no name)')}  ${part.type}  ${part.size} bytes`)
    say('')
  }
}

function asData({ message, email }: { message: PreviewedMessage; email: Email }) {
  return {
    host: message.host,
    messageId: message.messageId,
    envelope: message.envelope,
    size: message.content.length,
    headers: email.headers.map(({ originalKey, value }) => [originalKey, decodeWords(value)]),
    text: email.text ?? null,
    html: email.html ?? null,
    attachments: attachmentsOf(email),
  }
}

function attachmentsOf(email: Email) {
  return email.attachments.map(({ filename, mimeType, disposition, contentId, content }) => ({
    filename,
    type: mimeType,
    disposition,
    contentId: contentId ?? null,
    size: typeof content === 'string' ? Buffer.byteLength(content) : content.byteLength,
  }))
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .map(line => `    ${printable(line)}`)
    .join('\n')
}
