/** Random values for the places of a mail, and what mailparser sees of the mails that come of them. */
import assert from 'node:assert/strict'
import { simpleParser } from 'mailparser'
import { TemplateError } from '../../templates/index.ts'
import { renderMail, type SentMail } from './mail-page.ts'
import { fc } from './properties.ts'

/** For each place of a header. */
export const RUNS = 10_000
export const EVIL = 'evil@evil.example'
/** Line breaks, and what some decoder might take for one. */
export const BREAKS = [
  '\r',
  '\n',
  '\r\n',
  '\r\n\r\n',
  '\n ',
  '\r\n\t',
  '\u2028',
  '\u2029',
  '\u0085',
  '\v',
  '\f',
  '\0',
  '\ud800',
  '\ud800\n',
  '嘊嘍',
  '\\r\\n',
  '%0d%0a',
  '&#13;&#10;',
  '&#x0a;',
  '=0D=0A',
  '=?utf-8?Q?=0D=0A?=',
]
const SIGNS = [
  '"',
  '\\',
  '<',
  '>',
  ',',
  ';',
  ':',
  '(',
  ')',
  '@',
  '[',
  ']',
  '.',
  ' ',
  '=',
  '=?utf-8?q?',
  '?=',
  '{{',
  '<<v>>',
]
/** Pieces of attacks, of syntax and of anything. */
export const mixed = (...own: string[]) =>
  fc.string({
    unit: fc.oneof(
      fc.constantFrom(...own, ...BREAKS, ...SIGNS, 'Bcc: ', 'To: ', EVIL),
      fc.string({ unit: 'binary', minLength: 1, maxLength: 3 }),
    ),
    maxLength: 30,
  })
/** Something right, as it is or with something before, behind or inside it. */
export const nearly = (right: string) =>
  fc.oneof(
    { weight: 1, arbitrary: fc.constant(right) },
    {
      weight: 6,
      arbitrary: fc
        .tuple(mixed(right), fc.nat(right.length))
        .map(([odd, at]) => right.slice(0, at) + odd + right.slice(at)),
    },
    { weight: 2, arbitrary: mixed(right) },
  )

export const HEAD = ['From: "Shop" <shop@example.org>', 'To: ann@example.org', 'Subject: Order']
export const source = (head: readonly string[], attributes = '') =>
  `<<#sendmail "XYZ" ${attributes}>>\n${head.join('\n')}\n\nThe body.\n<</sendmail>>`
export const replaced = (name: string, line: string) =>
  source(HEAD.map(each => (each.startsWith(`${name}:`) ? line : each)))

/** The message of the page; undefined if it is refused. */
export async function send(page: string, v: unknown): Promise<SentMail | undefined> {
  try {
    const { sent } = await renderMail(page, { v })
    assert.equal(sent.length, 1)
    return sent[0]
  } catch (error) {
    assert.ok(error instanceof TemplateError, String(error))
    assert.ok(['MAIL_REFUSED', 'TEMPLATE_RENDER'].includes(error.code), error.message)
    return undefined
  }
}

/** What the parser sees. */
export async function seen({ content }: SentMail) {
  const parsed = await simpleParser(content)
  const wire = content.toString('latin1')
  assert.ok(wire.split('\r\n').every(line => line.length <= 998 && !/[\r\n\0]/.test(line)))
  assert.ok(wire.endsWith('\r\n\r\nThe body.\r\n'))
  const addresses = (header: 'from' | 'to' | 'cc' | 'replyTo') =>
    [parsed[header] ?? []].flat().flatMap(({ value }) => value.flatMap(one => one.group ?? one))
  return { keys: parsed.headerLines.map(({ key }) => key), addresses }
}

/** Blanks are no address and no reference: the place stays empty. */
export const isNothing = (value: string) => /^[\p{Cc}\p{Z}]*$/u.test(value)
export const OWN = ['date', 'message-id', 'mime-version', 'content-type', 'content-transfer-encoding']
