/** Composed messages, as an independent parser reads them. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ParsedMail, simpleParser } from 'mailparser'
import t from 'tap'
import { CHARSETS } from '../../maildrop/compose/body.ts'
import { type ComposeOptions, composeMessage, type MessageInput } from '../../maildrop/compose/index.ts'
import { fc } from '../support/properties.ts'
import { type PythonMail, readWithPython } from '../support/python-mail.ts'

const FIXED = { id: '20260101.abc', date: new Date('2026-01-01T12:00:00Z') }
const compose = (message: MessageInput, options: Partial<ComposeOptions> = {}) =>
  composeMessage(message, { ...FIXED, ...options })

const PLACES = { from: 'a@b.c', to: 'd@e.f' }

/** Every message composed here, for the last test. */
const all: { content: Buffer; mail: ParsedMail }[] = []

/** Composes, checks what every message must be, and reads it back. */
async function composed(message: MessageInput, options: Partial<ComposeOptions> = {}) {
  const result = await compose(message, options)
  const wire = result.content.toString('latin1')
  const mail: ParsedMail = await simpleParser(result.content)
  const bad = wire.split('\r\n').filter(line => /[\r\n\0]/.test(line) || line.length > 998)
  const names = [...mail.headers.keys()]
  for (const name of ['from', 'subject', 'date', 'message-id', 'mime-version', 'content-type'])
    if (!names.includes(name)) throw new Error(`no ${name} in ${wire}`)
  if (bad.length > 0) throw new Error(`a line that may not be: ${JSON.stringify(bad[0])}`)
  all.push({ content: result.content, mail })
  if (mail.messageId !== result.messageId) throw new Error(`Message-ID ${mail.messageId} is not ${result.messageId}`)
  return { ...result, wire, mail }
}

const addressesIn = (mail: ParsedMail, header: 'to' | 'cc' | 'bcc' | 'from') =>
  [mail[header] ?? []].flat().flatMap(({ value }) => value.map(({ address }) => address))

t.test('a text with headers is completed and keeps what it has', async t => {
  const { mail, envelope, messageId, wire } = await composed(
    'From: "Sender" <sender@example.org>\nTo: "Ann" <ann@example.org>\nSubject: This is a test message\n\nBody\n',
  )
  t.same(envelope, { from: 'sender@example.org', to: ['ann@example.org'] })
  t.equal(messageId, '<20260101.abc@example.org>')
  t.same(mail.date, FIXED.date)
  t.equal(mail.text, 'Body\n')
  t.ok(wire.startsWith('From: "Sender" <sender@example.org>\r\nTo: "Ann" <ann@example.org>\r\n'))
  t.ok(wire.endsWith('\r\n\r\nBody\r\n'))
})

t.test('parameters replace headers, and to is the whole envelope', async t => {
  const { mail, envelope } = await composed('From: a@b.c\nTo: d@e.f\nCc: g@h.i\nBcc: j@k.l\nSubject: old\n\n.', {
    to: ['Zoë <z@z.org>', 'y@z.org'],
    from: 'new@b.c',
    subject: "O'Brien & Söhne",
  })
  t.same(envelope, { from: 'new@b.c', to: ['z@z.org', 'y@z.org'] })
  t.same(addressesIn(mail, 'to'), ['z@z.org', 'y@z.org'])
  t.same(addressesIn(mail, 'from'), ['new@b.c'])
  t.same(addressesIn(mail, 'cc'), ['g@h.i'])
  t.equal(mail.subject, "O'Brien & Söhne")
})

t.test('without to, To, Cc and Bcc give the envelope, each recipient once, and Bcc stays here', async t => {
  const { envelope, wire } = await composed(
    'From: a@b.c\nTo: d@e.f, Team: D <d@E.F>, g@h.i;\nCc: k@l.m\nBcc: hidden@b.c\n\n.',
  )
  t.same(envelope.to, ['d@e.f', 'g@h.i', 'k@l.m', 'hidden@b.c'])
  t.notMatch(wire, /bcc|hidden/i)
})

t.test('Message-ID and Date that are there stay', async t => {
  const { mail, messageId } = await composed(
    'From: a@b.c\nTo: d@e.f\nMessage-ID: <mine@b.c>\nDate: Thu, 1 Jan 1998 00:00:00 +0200\n\n.',
  )
  t.equal(messageId, '<mine@b.c>')
  t.same(mail.date, new Date('1997-12-31T22:00:00Z'))
})

t.test('a message without a subject says so', async t => {
  t.equal((await composed('From: a@b.c\nTo: d@e.f\n\n.')).mail.subject, '[No Subject]')
  t.equal((await composed('From: a@b.c\nTo: d@e.f\nSubject:\n\n.')).mail.subject, '[No Subject]')
})

t.test('a text whose first line is no header is all body', async t => {
  const { mail } = await composed('Hello,\nNote: this is text\n', { to: 'a@b.c', from: 'd@e.f' })
  t.equal(mail.text, 'Hello,\nNote: this is text\n')
})

t.test('bytes are taken as they are', async t => {
  const { mail } = await composed(
    Buffer.from('From: J\u00f6rg <a@b.c>\nTo: d@e.f\nSubject: caf\u00e9\n\nna\u00efve\n', 'utf8'),
  )
  t.equal(mail.subject, 'caf\u00e9')
  t.equal(mail.from?.value[0]?.name, 'J\u00f6rg')
  t.equal(mail.text, 'na\u00efve\n')
  const latin = Buffer.from(
    'From: a@b.c\nTo: d@e.f\nContent-Type: text/plain; charset=iso-8859-1\n\nna\u00efve\n',
    'latin1',
  )
  t.equal((await composed(latin)).mail.text, 'na\u00efve\n')
})

t.test('the body is encoded as asked, or as needed', async t => {
  const head = 'From: a@b.c\nTo: d@e.f\n\n'
  const encodingOf = async (body: string, options: Partial<ComposeOptions> = {}) => {
    const { mail, wire } = await composed(head + body, options)
    t.equal(mail.text?.trimEnd(), body.trimEnd())
    return /^Content-Transfer-Encoding: (.*)\r$/m.exec(wire)?.[1]
  }
  t.equal(await encodingOf('plain\n'), '7bit')
  t.equal(await encodingOf('Größe und andere Wörter, meist aus ASCII\n'), 'quoted-printable')
  t.equal(await encodingOf('日本語のテキスト\n'), 'base64')
  t.equal(await encodingOf(`${'x'.repeat(2000)}\n`), 'quoted-printable')
  t.equal(await encodingOf('plain\n', { encode: 'base64' }), 'base64')
  t.equal(await encodingOf('plain  \n', { encode: 'quoted-printable' }), 'quoted-printable')
  t.equal(await encodingOf('Größe\n', { encode: '8bit' }), '8bit')
  t.equal(await encodingOf('Größe und noch mehr\n', { charset: 'iso-8859-1' }), 'quoted-printable')
  await t.rejects(compose(`${head}Größe`, { encode: '7bit' }), { code: 'BAD_ENCODING', message: /not ASCII/ })
  await t.rejects(compose(`${head}Größe`, { charset: 'us-ascii' }), { code: 'BAD_ENCODING', message: /no 'ö'/ })
  await t.rejects(compose(`${head}x`, { charset: 'utf-7' }), { code: 'BAD_ENCODING', message: /found "utf-7"/ })
  await t.rejects(compose(`${head}x`, { encode: 'uuencode' as 'base64' }), { code: 'BAD_ENCODING' })
})

t.test('a text is written in the character set asked for, if that has its characters', async t => {
  const texts: Record<string, string> = {
    'windows-1252': 'Größe „5 €“ – naïve',
    'iso-8859-15': '5 € für Œuvre',
    'iso-8859-2': 'Žluťoučký kůň',
    'koi8-r': 'Привет, мир',
    'windows-1251': 'Привет, мир',
    shift_jis: '日本語のテキスト',
    'euc-jp': '日本語のテキスト',
    gb18030: '中文 😀',
    big5: '中文',
    'euc-kr': '한국어',
  }
  for (const [charset, text] of Object.entries(texts)) {
    for (const encode of ['quoted-printable', 'base64', '8bit'] as const) {
      const { mail, wire } = await composed({ headerParts: [], body: text }, { ...PLACES, charset, encode })
      t.equal(mail.text?.trimEnd(), text, `${charset} ${encode}`)
      t.match(wire, `charset=${charset}\r\n`)
    }
  }
  const declared = `From: a@b.c\nTo: d@e.f\nContent-Type: text/plain; charset=ISO-8859-15\n\n5 €\n`
  t.equal((await composed(declared)).mail.text, '5 €\n')
  for (const charset of CHARSETS) {
    const { mail } = await composed('ASCII \\ ~ only\n', { ...PLACES, charset })
    t.equal(mail.text, 'ASCII \\ ~ only\n', charset)
  }
  await t.rejects(compose('€', { ...PLACES, charset: 'iso-8859-1' }), {
    code: 'BAD_ENCODING',
    message: /no '€'; use utf-8/,
  })
  await t.rejects(compose('x 日', { ...PLACES, charset: 'koi8-r' }), { code: 'BAD_ENCODING', message: /no '日'/ })
})

t.test('Auto-Submitted is set where it is asked for', async t => {
  t.notMatch((await composed('x', PLACES)).wire, /Auto-Submitted/i)
  t.match((await composed('x', { ...PLACES, autoSubmitted: 'auto-replied' })).wire, 'Auto-Submitted: auto-replied\r\n')
  const { wire } = await composed('Auto-Submitted: no\nFrom: a@b.c\n\nx', {
    to: 'd@e.f',
    autoSubmitted: 'auto-generated',
  })
  t.same(wire.match(/^Auto-Submitted: .*$/gim), ['Auto-Submitted: auto-generated'])
  const strange = 'x\r\nBcc: e@f.g' as 'no'
  await t.rejects(compose('x', { ...PLACES, autoSubmitted: strange }), {
    code: 'BAD_HEADER',
    message: /^autoSubmitted/,
  })
})

t.test('a body that is encoded already keeps its bytes, and asking for another encoding is an error', async t => {
  const text =
    'From: a@b.c\nTo: d@e.f\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nSMO2\n'
  const { mail, wire } = await composed(text)
  t.equal(mail.text, 'Hö')
  t.ok(wire.endsWith('\r\n\r\nSMO2\r\n'))
  t.ok((await composed(text, { encode: 'base64' })).wire.endsWith('SMO2\r\n'))
  await t.rejects(compose(text, { encode: 'quoted-printable' }), {
    code: 'BAD_ENCODING',
    message: /encoded as base64 already/,
  })
})

t.test('a multipart body keeps its bytes', async t => {
  const body = '--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<b>ö</b>\r\n--b--\r\n'
  const { mail, wire } = await composed(`From: a@b.c\nTo: d@e.f\nContent-Type: multipart/mixed; boundary=b\n\n${body}`)
  t.ok(Buffer.from(wire, 'latin1').toString().endsWith(`\r\n\r\n${body}`))
  t.match(mail.html, /<b>ö<\/b>/)
  await t.rejects(
    compose(`From: a@b.c\nTo: d@e.f\nContent-Type: multipart/mixed; boundary=b\n\n${body}`, { encode: 'base64' }),
    {
      code: 'BAD_ENCODING',
    },
  )
})

t.test('the type of the body can be given', async t => {
  const { mail } = await composed('From: a@b.c\nTo: d@e.f\n\n<b>Größe</b>', { type: 'text/html' })
  t.match(mail.html, '<b>Größe</b>')
  await t.rejects(compose('x', { to: 'a@b.c', from: 'a@b.c', type: 'text/html\r\nBcc: x@y.z' }), { code: 'BAD_HEADER' })
})

t.test('a message that says itself what it is cannot be made something else', async t => {
  const parts = 'Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n'
  const encoded = 'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\nSMO2\n'
  const attached = { text: 'x', attachments: [{ filename: 'a.txt', content: 'x' }] }
  const refused: [MessageInput, Partial<ComposeOptions>, RegExp][] = [
    [
      { text: 'ö', html: '<b>ö</b>' },
      { type: 'text/html' },
      /type: .*"text\/html".* multipart\/alternative .*leave 'type' out/,
    ],
    [{ text: 'ö', html: '<b>ö</b>' }, { type: 'multipart/mixed' }, /type/],
    [{ text: 'ö', html: '<b>ö</b>' }, { charset: 'iso-8859-1' }, /charset: .*leave 'charset' out/],
    [{ text: 'x', html: '<b>x</b>' }, { encode: 'base64' }, /encode/],
    [{ html: '<b>x</b>' }, { type: 'text/plain' }, /type/],
    [{ html: '<b>x</b>' }, { charset: 'iso-8859-1' }, /charset/],
    [attached, { type: 'text/plain' }, /type/],
    [attached, { charset: 'utf-8' }, /charset/],
    [parts, { type: 'text/html' }, /type/],
    [parts, { charset: 'utf-8' }, /charset/],
    [encoded, { type: 'text/html' }, /type/],
    [encoded, { charset: 'iso-8859-1' }, /charset: .*text\/plain in utf-8/],
    ['a text', { type: 'multipart/mixed' }, /type/],
    ['a text', { type: 'message/rfc822' }, /type/],
  ]
  for (const [message, options, text] of refused) {
    const what = `${JSON.stringify(message)} ${JSON.stringify(options)}`
    await t.rejects(compose(message, { ...PLACES, ...options }), { code: 'BAD_ENCODING', message: text }, what)
  }
  await compose({ text: 'ö', html: '<b>ö</b>' }, { ...PLACES, type: 'multipart/alternative' })
  await compose({ html: '<b>ö</b>' }, { ...PLACES, type: 'text/html', charset: 'UTF-8', encode: 'base64' })
  await compose(encoded, { ...PLACES, type: 'Text/Plain', charset: 'utf-8' })
})

t.test("nodemailer's message object is composed, attachments and all", async t => {
  const { mail, envelope, wire } = await composed({
    from: { name: 'Shöp', address: 'shop@example.org' },
    to: ['Ann <ann@example.org>', { name: 'Bob', address: 'bob@example.org' }],
    bcc: 'hidden@example.org',
    subject: 'Hi',
    text: 'Hällo',
    html: '<b>Hällo</b>',
    attachments: [{ filename: 'ü\r\nX-Evil: 1.txt', content: 'abc' }],
    headers: { 'X-Shop': 'näme' },
    inReplyTo: '<a@b.c>',
  })
  t.same(envelope, { from: 'shop@example.org', to: ['ann@example.org', 'bob@example.org', 'hidden@example.org'] })
  t.equal(mail.text, 'Hällo')
  t.equal(mail.html, '<b>Hällo</b>')
  t.equal(mail.attachments[0]?.content.toString(), 'abc')
  t.equal(mail.headers.get('x-shop'), '=?UTF-8?Q?n=C3=A4me?=')
  t.equal(mail.inReplyTo, '<a@b.c>')
  t.notMatch(wire, /hidden|^X-Evil/m)
})

t.test('a message object opens no file, fetches no URL and has no unknown field', async t => {
  const base = { from: 'a@b.c', to: 'd@e.f' }
  await t.rejects(compose({ ...base, attachments: [{ path: '/etc/passwd' }] }), {
    code: 'BAD_MESSAGE',
    message: /File access/,
  })
  await t.rejects(compose({ ...base, html: { path: '/etc/passwd' } }), { code: 'BAD_MESSAGE' })
  await t.rejects(compose({ ...base, attachments: [{ href: 'http://127.0.0.1/' }] }), { code: 'BAD_MESSAGE' })
  await t.rejects(compose({ ...base, subjcet: 'x' } as MessageInput), { code: 'BAD_MESSAGE', message: /'subjcet'/ })
  await t.rejects(compose(7 as unknown as string), { code: 'BAD_MESSAGE' })
})

t.test('files and URLs are read where the caller allows it, each for itself', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'compose-'))
  const server = createServer((_, response) => response.end('from the web')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => Promise.all([rm(directory, { recursive: true }), new Promise(done => server.close(done))]))
  const path = join(directory, 'file.txt')
  const href = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  await writeFile(path, 'from a file')
  const message = (...attachments: object[]) => ({ from: 'a@b.c', to: 'd@e.f', text: 'x', attachments }) as MessageInput
  const contents = ({ mail }: { mail: ParsedMail }) => mail.attachments.map(({ content }) => content.toString())
  t.same(contents(await composed(message({ path }), { allow: ['files'] })), ['from a file'])
  t.same(contents(await composed(message({ filename: 'x', href }), { allow: ['urls'] })), ['from the web'])
  t.same(contents(await composed(message({ path }, { filename: 'x', href }), { allow: ['urls', 'files'] })).length, 2)
  await t.rejects(compose(message({ path }), { allow: ['urls'] }), {
    code: 'BAD_MESSAGE',
    message: /File access.*allow: \['files'\]/,
  })
  await t.rejects(compose(message({ href }), { allow: ['files'] }), {
    code: 'BAD_MESSAGE',
    message: /Url access.*allow: \['urls'\]/i,
  })
  await t.rejects(compose(message({ path }), { allow: [] }), { code: 'BAD_MESSAGE' })
  await t.rejects(compose(message({ path: join(directory, 'none') }), { allow: ['files'] }), {
    code: 'BAD_MESSAGE',
    message: /ENOENT/,
  })
  await t.rejects(compose(message(), { allow: ['all' as 'files'] }), {
    code: 'BAD_MESSAGE',
    message: /^allow: expected files, urls/,
  })
})

t.test('what cannot be sent is refused with its reason', async t => {
  const cases: [MessageInput, Partial<ComposeOptions>, { code: string; message?: RegExp }][] = [
    ['x', { to: 'a@b.c' }, { code: 'NO_SENDER' }],
    ['x', { from: 'a@b.c' }, { code: 'NO_RECIPIENTS' }],
    ['x', { from: 'a@b.c', to: [] }, { code: 'NO_RECIPIENTS' }],
    ['To: d@e.f\n\nx', { from: 'a@b.c', to: '' }, { code: 'NO_RECIPIENTS' }],
    ['x', { from: 'a@b.c', to: 'undisclosed-recipients:;' }, { code: 'NO_RECIPIENTS' }],
    ['x', { from: '', to: 'a@b.c' }, { code: 'NO_SENDER' }],
    ['x', { from: 'a@b.c, d@e.f', to: 'a@b.c' }, { code: 'BAD_ADDRESS', message: /exactly one address/ }],
    ['Sender: a@b.c\n\nx', { from: 'a@b.c, d@e.f', to: 'a@b.c' }, { code: 'BAD_ADDRESS', message: /exactly one/ }],
    ['From: a@b.c, d@e.f\nTo: a@b.c\n\nx', {}, { code: 'BAD_ADDRESS', message: /Sender/ }],
    ['x', { from: 'a@b.c', to: `${'('.repeat(1e5)} a@b.c` }, { code: 'BAD_ADDRESS', message: /comment that is not/ }],
    ['x', { from: 'a@b.c', to: ['d@e.f, g@h.i'] }, { code: 'BAD_ADDRESS' }],
    ['x', { from: 'a@b.c\r\nBcc: d@e.f', to: 'a@b.c' }, { code: 'BAD_ADDRESS' }],
    ['x', { from: 'a@b.c', to: 'd@e.f\nBcc: g@h.i' }, { code: 'BAD_ADDRESS' }],
    ['From: a@b.c\nFrom: d@e.f\nTo: a@b.c\n\nx', {}, { code: 'BAD_HEADER', message: /two From/ }],
    ['Subject: a\nsubject: b\nFrom: a@b.c\nTo: a@b.c\n\nx', {}, { code: 'BAD_HEADER', message: /two subject/ }],
    ['From: a@b.c\nTo: a@b.c\nnonsense\n\nx', {}, { code: 'BAD_HEADER', message: /line 3/ }],
    ['From: a@b.c\nTo: a@b.c\nX: a\0b\n\nx', {}, { code: 'BAD_HEADER', message: /line 3/ }],
    ['From: a@b.c\nTo: a@b.c\nX: a\rBcc: x@y.z\n\nx', {}, { code: 'BAD_HEADER', message: /line 3/ }],
    ['From: a@b.c\nTo: a@b.c\nMessage-ID: nonsense\n\nx', {}, { code: 'BAD_HEADER', message: /identifier/ }],
    ['From: a@b.c\nTo: a@b.c\nDate: yesterday\n\nx', {}, { code: 'BAD_HEADER', message: /date/ }],
    [{ from: 'a@b.c', to: 'a@b.c', headers: { 'X-A\r\nBcc': 'x' } }, {}, { code: 'BAD_HEADER' }],
    [{ from: 'a@b.c', to: 'a@b.c', messageId: '<a@b>\r\nBcc: x@y.z' }, {}, { code: 'BAD_HEADER' }],
  ]
  for (const [message, options, error] of cases)
    await t.rejects(compose(message, options), error, JSON.stringify([message, options]))
})

t.test('comments inside comments are read, however deep', async t => {
  const { envelope } = await composed('x', { from: 'a@b.c', to: `d@e.f ${'('.repeat(1e5)}${')'.repeat(1e5)}` })
  t.same(envelope.to, ['d@e.f'])
})

t.test('a repeated header is no error where its parameter replaces it', async t => {
  const { envelope } = await composed('From: a@b.c\nTo: d@e.f\nTo: g@h.i\n\nx', { to: 'z@z.org' })
  t.same(envelope.to, ['z@z.org'])
})

t.test('an address in characters beyond ASCII stands in the message as UTF-8', async t => {
  const { envelope, mail } = await composed('x', { to: 'Jörg <jörg@müller.de>', from: 'a@b.c' })
  t.same(envelope.to, ['jörg@xn--mller-kva.de'])
  t.equal(mail.to && [mail.to].flat()[0]?.value[0]?.name, 'Jörg')
})

t.test('the name of a group that is encoded stands apart from its colon', async t => {
  const { wire, envelope } = await composed('From: a@b.c\nTo: Büro: d@e.f;, Team: g@h.i;\n\nx')
  t.match(wire, 'To: =?UTF-8?Q?B=C3=BCro?= : d@e.f;, Team: g@h.i;\r\n')
  t.same(envelope.to, ['d@e.f', 'g@h.i'])
})

t.test('header lines that are right already keep their bytes, others are written anew', async t => {
  const signature = 'DKIM-Signature: v=1; a=rsa-sha256;\r\n\tb=abc def\r\n'
  const { wire } = await composed(`${signature}From: a@b.c\r\nTo: d@e.f\r\nX-Long: ${'word '.repeat(400)}\r\n\r\nx`)
  t.ok(wire.startsWith(signature))
})

const EVIL = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      '\r',
      '\n',
      '\r\n',
      '\0',
      '\u2028',
      '\u2029',
      '\u0085',
      '\v',
      '\f',
      '\t',
      ' ',
      'Bcc: x@y.z',
      '=?utf-8?q?',
      '?=',
      '=0A',
      '<',
      '>',
      ',',
      ';',
      '"',
      '\\',
      ':',
      '@',
      '(',
      'ö',
      '日',
      '\ud83d\ude00',
    ),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 3 }),
  ),
  maxLength: 60,
})
/** What a receiver shows of any text: one line. */
const oneLine = (text: string) => text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').trim()
const flat = (text: string | undefined) => (text ?? '').replace(/\s+/g, ' ').trim()

t.test('whatever the subject and the names are, the headers and recipients stay those of the caller', async () => {
  await fc.assert(
    fc.asyncProperty(EVIL, EVIL, EVIL, async (subject, name, body) => {
      const { mail, envelope } = await composed(
        {
          headerParts: [
            { name: 'From', parts: ['"', { value: name }, '" <a@b.c>'] },
            { name: 'X-Extra', parts: [{ value: name }] },
          ],
          body,
        },
        { to: 'd@e.f', subject },
      )
      assert.deepEqual(envelope, { from: 'a@b.c', to: ['d@e.f'] })
      assert.equal(flat(mail.subject), flat(oneLine(subject)) || '[No Subject]')
      assert.equal(flat(mail.from?.value[0]?.name), flat(oneLine(name)))
      assert.deepEqual(addressesIn(mail, 'to'), ['d@e.f'])
      assert.deepEqual(addressesIn(mail, 'from'), ['a@b.c'])
      const names = new Set(mail.headerLines.map(({ key }) => key))
      names.delete('x-extra')
      assert.deepEqual([...names].sort(), [
        'content-transfer-encoding',
        'content-type',
        'date',
        'from',
        'message-id',
        'mime-version',
        'subject',
        'to',
      ])
    }),
    { numRuns: 1000 },
  )
})

t.test('the headers of mailing lists', async t => {
  const list = async (list: object) => {
    const { wire, mail } = await composed({ from: 'a@b.c', to: 'd@e.f', text: '.', list } as MessageInput)
    t.ok(mail)
    return wire
      .replace(/\r\n /g, ' ')
      .split('\r\n')
      .filter(line => line.startsWith('List-'))
  }
  t.same(
    await list({
      unsubscribe: ['https://shop.example/off?u=7', { url: 'off@example.org?subject=off', comment: 'by mail' }],
      help: { url: 'help@example.org', comment: 'Hilfe (für alle)' },
      id: { url: 'news.example.org', comment: 'Our "news"' },
    }),
    [
      'List-Unsubscribe: <https://shop.example/off?u=7>, <mailto:off@example.org?subject=off> (by mail)',
      'List-Help: <mailto:help@example.org> (=?UTF-8?Q?Hilfe_=28f=C3=BCr_alle=29?=)',
      'List-ID: "Our \\"news\\"" <news.example.org>',
    ],
  )
  const refused: [object, string][] = [
    [{ unsubscribe: 'https://x.y/\r\nBcc: <e@f.g>' }, ''],
    [{ unsubscribe: 'javascript:alert(1)' }, 'BAD_ADDRESS'],
    [{ unsubscribe: 'nobody' }, 'BAD_ADDRESS'],
    [{ unsubscribe: 7 }, 'BAD_MESSAGE'],
    [{ id: 'no id' }, 'BAD_MESSAGE'],
    [{ other: 'https://x.y' }, 'BAD_MESSAGE'],
  ]
  for (const [fields, code] of refused)
    if (code === '') t.notMatch((await list(fields)).join(), /Bcc: <e/)
    else await t.rejects(list(fields), { code }, JSON.stringify(fields))
})

t.test("Python's parser finds no defect in any message composed here, and the same in it", async t => {
  t.ok(all.length > 30, `${all.length} messages`)
  const texts = (mail: PythonMail): string[] => [
    ...(mail.text === undefined ? [] : [mail.text]),
    ...mail.parts.flatMap(texts),
  ]
  for (const [i, python] of readWithPython(all.map(({ content }) => content)).entries()) {
    const { mail, content } = all[i]!
    const wire = content.toString('latin1').slice(0, 400)
    const header = (name: string) => python.headers.find(([key]) => key.toLowerCase() === name)?.[1]
    // RFC 6532 headers, for addresses beyond ASCII: Python reads them by RFC 5322 and objects
    const international = /[^\x00-\x7f]/.test(content.subarray(0, content.indexOf('\r\n\r\n')).toString('latin1'))
    const defects = python.defects.filter(
      defect => !(international && /^(NonASCIILocalPart|UndecodableBytes)/.test(defect)),
    )
    assert.deepEqual(defects, [], wire)
    if (international) continue
    assert.equal(header('subject'), mail.subject, wire)
    assert.equal(header('message-id'), mail.messageId, wire)
    for (const name of ['to', 'from', 'cc'] as const)
      for (const address of addressesIn(mail, name).filter(each => each !== undefined))
        assert.ok(header(name)?.includes(address), `${address} ${wire}`)
    if (python.parts.length === 0 && python.type === 'text/plain')
      assert.equal(texts(python)[0]?.trimEnd(), (mail.text ?? '').trimEnd(), wire)
  }
})
