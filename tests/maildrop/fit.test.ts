/** What the server offers is used, and a message that needs more is made to fit, or fails before any of it is sent. */
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { verdictOf } from '../../maildrop/delivery/outcome.ts'
import { openSession, type Report } from '../../maildrop/delivery/session.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type ScriptedServer, type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'

t.jobs = 3

const utf8 = (text: string): Buffer => Buffer.from(text.replace(/\n/g, '\r\n'))

/** Sends one message; what is said about it, and what the server got. */
async function send(
  t: Test,
  extensions: string[],
  message: string | Buffer,
  envelope: { from?: string; to?: string[] } = {},
  script: SmtpScript = {},
): Promise<{ report: Report; server: ScriptedServer; received: string | undefined }> {
  const server = await startSmtpScript({ extensions: ['PIPELINING', ...extensions], ...script })
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port))
  const { from = 'sender@example.org', to = ['ann@example.org'] } = envelope
  const bytes = typeof message === 'string' ? utf8(message) : message
  const report = await session.send({ from, to }, outgoingOf(t, bytes))
  // Whatever was wrong with the message, the connection is good for another one.
  const next = await session.send({ from, to: ['next@example.org'] }, outgoingOf(t, 'Subject: next\r\n\r\nnext\r\n'))
  t.match(next.end, { stage: 'dot', code: 250 })
  session.quit()
  await session.closed
  t.equal(server.messages.pop()?.to[0], 'next@example.org')
  t.strictSame(server.violations, [])
  return { report, server, received: server.messages[0]?.data }
}

const HEADER = 'From: a@example.org\nSubject: hello\nMIME-Version: 1.0\n'

t.test('a message that is larger than the server takes fails before anything is sent', async t => {
  const message = `${HEADER}\n${'x'.repeat(70)}\n`.repeat(20)
  const { report, server } = await send(t, ['SIZE 1000'], message)
  t.match(report.end, {
    stage: 'local',
    enhanced: '5.3.4',
    text: `the message has ${utf8(message).length} bytes, the server takes no more than 1000`,
  })
  t.equal(verdictOf(report.end), 'fail-message')
  t.strictSame(server.commands.filter(line => /^MAIL/.test(line)).length, 1)
  for (const offered of ['SIZE 100000', 'SIZE', 'SIZE 0']) {
    const { report, server } = await send(t, [offered], message)
    t.match(report.end, { stage: 'dot', code: 250 })
    t.match(server.commands.join('\n'), `MAIL FROM:<sender@example.org> SIZE=${utf8(message).length}`)
  }
})

t.test('the size that is declared is the size that is sent, whatever ends the lines (RFC 1870)', async t => {
  const large = Buffer.from(`Subject: x\n\n${'y'.repeat(99)}\n`.repeat(3000))
  for (const text of ['Subject: x\n\n.\nbody\n', 'Subject: x\r\n\r\nbody', 'a: b\r\n\nbody\n\r\n\n', large]) {
    const { server, received } = await send(t, ['SIZE 10000000'], Buffer.from(text))
    t.match(server.messages[0]?.parameters.mail, new RegExp(`\\bSIZE=${received?.length}\\b`))
  }
  const { report } = await send(t, [`SIZE ${large.length + 1}`], large)
  t.match(report.end, { stage: 'local', enhanced: '5.3.4' })
})

t.test('text of 8 bits goes as it is where that is offered', async t => {
  const message = `${HEADER}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße\n`
  const { server, received } = await send(t, ['8BITMIME'], message)
  t.equal(received, utf8(message).toString('latin1'))
  t.match(server.messages[0]?.parameters.mail, 'BODY=8BITMIME')
})

/** Messages that a server without 8BITMIME gets encoded; what they say has to be the same. */
const CONVERTED: Record<string, string | Buffer> = {
  'text of 8 bits': `${HEADER}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGrüße = a\n.\n..\nFrom  \n\nä\n`,
  'latin1 without a transfer encoding': Buffer.concat([
    utf8(`${HEADER}Content-Type: text/plain; charset=iso-8859-1\n\n`),
    Buffer.from('Gr\xfc\xdfe\r\n', 'latin1'),
  ]),
  'no MIME header at all': 'From: a@example.org\nSubject: hello\n\nGrüße, 漢字\n',
  'a line of 5000 bytes and one of 8 bits': `${HEADER}Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<p>${'x'.repeat(5000)}</p>\nü\n`,
  'binary and text parts, nested': `${HEADER}Content-Type: multipart/mixed; boundary=outer
Content-Transfer-Encoding: 8bit

preamble
--outer
Content-Type: multipart/alternative; boundary="inner x"

--inner x
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße

--inner x
Content-Type: text/html

<p>only ASCII</p>
--inner x--
--outer
Content-Type: application/json
Content-Transfer-Encoding: 8bit
Content-Disposition: attachment; filename=a.json

{ "name": "Jürgen" }
--outer
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64
Content-Disposition: attachment; filename=b.bin

AAEC/w==
--outer--
epilogue
`,
  'an attached message': `${HEADER}Content-Type: multipart/mixed; boundary=b

--b
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

From: b@example.org
Subject: inner
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße
--b--
`,
}

for (const [name, message] of Object.entries(CONVERTED)) {
  t.test(`without 8BITMIME: ${name}`, async t => {
    const bytes = typeof message === 'string' ? utf8(message) : message
    const { report, server, received = '' } = await send(t, ['SIZE 100000'], bytes)
    t.match(report.end, { stage: 'dot', code: 250 })
    t.match(received, /^[\x00-\x7f]*$/)
    t.match(server.messages[0]?.parameters.mail, `SIZE=${received.length}`)
    t.notMatch(server.messages[0]?.parameters.mail, 'BODY')
    const [before, after] = [await meaning(bytes), await meaning(Buffer.from(received, 'latin1'))]
    t.strictSame(after, before)
    t.ok(before.text || before.attachments.length > 0)
  })
}

interface Meaning {
  readonly text: string | undefined
  readonly html: string | false | undefined
  readonly subject: string | undefined
  readonly from: string | undefined
  readonly attachments: unknown[]
}

/** What a reader sees, by an independent parser. */
async function meaning(bytes: Buffer): Promise<Meaning> {
  const parsed = await simpleParser(bytes)
  const attachments: unknown[] = []
  for (const { contentType, filename, content } of parsed.attachments) {
    const inner = contentType === 'message/rfc822' ? await meaning(content) : content.toString('latin1')
    attachments.push({ contentType, filename, content: inner })
  }
  return { text: parsed.text, html: parsed.html, subject: parsed.subject, from: parsed.from?.text, attachments }
}

t.test('a message without a MIME header says its charset when it is encoded', async t => {
  const { received } = await send(t, [], 'Subject: hello\n\nGrüße\n')
  t.match(received, 'Content-Type: text/plain; charset=utf-8\r\n')
  t.match(received, 'MIME-Version: 1.0\r\n')
  t.match(received, '\r\n\r\nGr=C3=BC=C3=9Fe\r\n')
  const latin1 = await send(t, [], Buffer.from('Subject: hello\r\n\r\nGr\xfc\xdfe\r\n', 'latin1'))
  t.match(latin1.received, 'charset=unknown-8bit\r\n')
  t.match(latin1.received, '\r\n\r\nGr=FC=DFe\r\n')
})

/** What cannot be encoded, and why. */
const STUCK: Record<string, [string, string]> = {
  'what is signed': [
    `${HEADER}Content-Type: multipart/signed; boundary=b; protocol="x/y"; micalg=sha1

--b
Content-Type: multipart/mixed; boundary=c

--c
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße
--c--
--b
Content-Type: x/y

abc
--b--
`,
    'a part of it is signed',
  ],
  'a header of 8 bits': ['Subject: Grüße\n\nhello\n', 'a header of it is not ASCII'],
  'a header of a part': [
    `${HEADER}Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Description: Grüße\n\nhello\n--b--\n`,
    'a header of it is not ASCII',
  ],
  'text between the parts': [
    `${HEADER}Content-Type: multipart/mixed; boundary=b\n\nGrüße\n--b\n\nhello\n--b--\n`,
    'text',
  ],
  'a message that is attached': [
    `${HEADER}Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\nContent-Disposition: attachment\n\nSubject: inner\n\nGrüße\n--b--\n`,
    'a message is attached to it, which cannot be encoded',
  ],
  'an encoding that it does not have': [
    `${HEADER}Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\nGrüße\n`,
    'a part of it is not the quoted-printable it says',
  ],
}

for (const [name, [message, why]] of Object.entries(STUCK)) {
  t.test(`without 8BITMIME and impossible to encode: ${name}`, async t => {
    const { report, server } = await send(t, [], message)
    t.match(report.end, {
      stage: 'local',
      enhanced: '5.6.3',
      text: 'the server takes only 7-bit text (no 8BITMIME), and ',
    })
    t.match(report.end.text, why)
    t.equal(verdictOf(report.end), 'fail-message')
    t.equal(server.messages.length, 0)
  })
}

t.test('lines that are too long are encoded also where 8 bits are offered, except in what is signed', async t => {
  const long = `${HEADER}Content-Type: text/plain; charset=utf-8\n\n${'ü'.repeat(3000)}\n${'x'.repeat(998)}\n`
  const { received = '' } = await send(t, ['8BITMIME'], long)
  t.match(received, 'Content-Transfer-Encoding: quoted-printable\r\n')
  t.equal((await simpleParser(received)).text, (await simpleParser(utf8(long))).text)
  const whole = `${HEADER}Content-Type: text/plain\n\n${`${'x'.repeat(998)}\n`.repeat(3)}`
  t.equal((await send(t, ['8BITMIME'], whole)).received, utf8(whole).toString(), '998 are not too long')
})

t.test('a large message is rewritten as it is read from its file', async t => {
  const message = `${HEADER}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n${'Grüße an alle\n'.repeat(40_000)}`
  const { received = '' } = await send(t, [], message)
  t.equal((await simpleParser(received)).text, (await simpleParser(utf8(message))).text)
})

t.test('domains go as A-labels, with or without SMTPUTF8', async t => {
  const envelope = { from: 'ann@müller.example', to: ['bob@bücher.example', 'eve@例え.example'] }
  for (const offered of ['SMTPUTF8', 'X-NONE']) {
    const rcpt = (to: string): string | undefined => (to.startsWith('eve') ? '550 5.1.1 no' : undefined)
    const { report, server } = await send(t, [offered], `${HEADER}\nhello\n`, envelope, { rcpt })
    t.match(server.messages, [{ from: 'ann@xn--mller-kva.example', to: ['bob@xn--bcher-kva.example'] }])
    t.strictSame([...report.refused.keys()], ['eve@例え.example'], 'reported by the name it has in the envelope')
  }
})

t.test('a mailbox is named once, however its domain is written; a refusal is of all its names', async t => {
  const envelope = {
    to: ['ann@example.org', 'ann@EXAMPLE.org', 'Ann@example.org', 'eve@Example.org', 'eve@example.ORG'],
  }
  const rcpt = (to: string): string | undefined => (to.startsWith('eve') ? '550 5.1.1 no' : undefined)
  const { report, server } = await send(t, [], `${HEADER}\nhello\n`, envelope, { rcpt })
  t.match(server.messages, [{ to: ['ann@example.org', 'Ann@example.org'] }])
  t.strictSame([...report.refused.keys()], ['eve@Example.org', 'eve@example.ORG'])
})

t.test('a local part that is not ASCII needs SMTPUTF8; the other recipients get their message without', async t => {
  const envelope = { to: ['jürgen@bücher.example', 'ann@example.org'] }
  const encode = (text: string): string => Buffer.from(text).toString('latin1')
  const offered = await send(t, ['SMTPUTF8'], `${HEADER}\nhello\n`, envelope)
  t.match(offered.server.messages, [{ to: [encode('jürgen@bücher.example'), 'ann@example.org'] }])
  t.match(offered.server.messages[0]?.parameters.mail, 'SMTPUTF8')

  const { report, server } = await send(t, [], `${HEADER}\nhello\n`, envelope)
  t.match(server.messages, [{ to: ['ann@example.org'] }])
  t.match(report.end, { stage: 'dot', code: 250 })
  t.strictSame([...report.refused.keys()], ['jürgen@bücher.example'])
  const refusal = report.refused.get('jürgen@bücher.example')!
  t.match(refusal, {
    enhanced: '5.6.7',
    text: 'the address jürgen@bücher.example is not ASCII and the server does not offer SMTPUTF8',
  })
  t.equal(verdictOf(refusal), 'fail-message')

  const alone = await send(t, [], `${HEADER}\nhello\n`, { to: ['jürgen@example.org'] })
  t.match(alone.report.end, { enhanced: '5.6.7' })
  t.equal(alone.server.messages.length, 0)
})

t.test('where DSN is offered, the message is named, and nobody asks for news of a notification', async t => {
  const { server } = await send(t, ['DSN'], `${HEADER}\nhello\n`)
  t.equal(server.messages[0]?.parameters.mail, 'RET=HDRS ENVID=test')
  t.strictSame(server.messages[0]?.parameters.rcpt, [''])
})

t.test('where DSN is offered, a message with the null sender asks for none', async t => {
  const server = await startSmtpScript({ extensions: ['DSN'] })
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port))
  await session.send({ from: '', to: ['ann@example.org'] }, outgoingOf(t, `${HEADER}\nhello\n`))
  t.strictSame(server.messages[0]?.parameters.rcpt, ['NOTIFY=NEVER'])
  session.quit()
  await session.closed
})
