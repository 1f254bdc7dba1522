/**
 * What a page would send, for people and for programs: envelope, headers and parts of each message. HTML goes into a file of
 * a new directory under the system's temporary one, to be looked at in a browser.
 */
import { mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import PostalMime, { decodeWords } from 'postal-mime'
import type { PreviewedMessage } from '../objects/index.ts'
import type { Output } from './output.ts'
import { printable } from './printable.ts'

export interface PreviewedMail {
  /** Path of the mail host. */
  readonly host: string
  readonly messageId: string
  readonly envelope: { readonly from: string; readonly to: readonly string[] }
  /** Bytes. */
  readonly size: number
  /** Name and decoded value, in order. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly text: string | null
  readonly html: string | null
  readonly attachments: readonly {
    readonly filename: string | null
    readonly type: string
    readonly disposition: string | null
    readonly contentId: string | null
    readonly size: number
  }[]
}

export async function previewOf({ host, messageId, envelope, content }: PreviewedMessage): Promise<PreviewedMail> {
  const email = await PostalMime.parse(content)
  return {
    host,
    messageId,
    envelope,
    size: content.length,
    headers: email.headers.map(({ originalKey, value }) => [originalKey, decodeWords(value)]),
    text: email.text ?? null,
    html: email.html ?? null,
    attachments: email.attachments.map(({ filename, mimeType, disposition, contentId, content }) => ({
      filename,
      type: mimeType,
      disposition,
      contentId: contentId ?? null,
      size: typeof content === 'string' ? Buffer.byteLength(content) : content.byteLength,
    })),
  }
}

export async function showMessages(messages: readonly PreviewedMail[], out: Output): Promise<void> {
  if (messages.length === 0) out.line('the page sends no mail')
  const directory = messages.some(({ html }) => html) ? await mkdtemp(join(tmpdir(), 'objtree-preview-')) : ''
  for (const [i, { host, envelope, size, headers, text, html, attachments }] of messages.entries()) {
    out.line(`message ${i + 1} of ${messages.length}, ${size} bytes, through ${printable(host)}`)
    out.line(`  sender      ${printable(envelope.from || '<>')}`)
    for (const recipient of envelope.to) out.line(`  recipient   ${printable(recipient)}`)
    for (const [name, value] of headers) out.line(`  ${printable(name)}: ${printable(value)}`)
    if (text) out.line(`\n${indented(text)}`)
    if (html) {
      const file = join(directory, `message-${i + 1}.html`)
      await writeFile(file, html, { mode: 0o600 })
      out.line(`  HTML        ${file}`)
    }
    for (const { filename, type, size } of attachments)
      out.line(`  attachment  ${printable(filename ?? '(no name)')}  ${printable(type)}  ${size} bytes`)
    out.line()
  }
}

function indented(text: string): string {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .map(line => `    ${printable(line)}`)
    .join('\n')
}
