/** Signatures: what a server receives can be verified, whatever the message has been through on the way. */
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openSigner } from '../../maildrop/delivery/dkim.ts'
import { openSession, type SessionError } from '../../maildrop/delivery/session.ts'
import { dkimpyProblem, verifyDkim, verifyWithDkimpy } from '../support/dkim.ts'
import { testMaildrop } from '../support/maildrop.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { needs } from '../support/peers.ts'
import { removeDirectory } from '../support/program.ts'
import { fc } from '../support/properties.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.jobs = 3

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' })

function keyFile(t: Test, content: string | Buffer = pem): string {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-dkim-'))
  t.teardown(() => removeDirectory(directory))
  const file = join(directory, 'key.pem')
  writeFileSync(file, content, { mode: 0o600 })
  return file
}

const dkimOf = (t: Test) => ({ domain: 'example.org', selector: 's1', keyFile: keyFile(t) })

async function session(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port, { dkim: dkimOf(t) }))
  t.teardown(() => session.abort('the test is over'))
  return { server, session }
}

const ENVELOPE = { from: 'ann@example.org', to: ['bob@example.org'] }
const HEADER =
  'From: Ann <ann@example.org>\r\nTo: bob@example.org\r\nSubject:  two\r\n words \r\nDate: Fri, 27 Nov 2026 00:00:00 +0000\r\n'

const MESSAGES: Record<string, string> = {
  'a plain one': `${HEADER}\r\nHello,\r\n\r\nworld. \r\n\r\n\r\n`,
  'without a body': HEADER,
  'with an empty body': `${HEADER}\r\n`,
  'that does not end with a line end': `${HEADER}\r\nHello`,
  'with LF only': `${HEADER}\r\nHello\r\nworld\r\n`.replace(/\r/g, ''),
  'with bare CR and LF': `${HEADER}\r\na\rb\nc\r\r\nd\n\r`,
  'with lines that begin with dots': `${HEADER}\r\n.\r\n..\r\n.a\r\n`,
  'with a Bcc': `Bcc: eve@example.org\r\n${HEADER}\r\nHello\r\n`,
  'with 8 bits': `${HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n`,
  'with a long line': `${HEADER}Content-Type: text/plain\r\n\r\n${'x'.repeat(3000)}\r\n`,
  'with blanks everywhere': `Subject:\t \r\nX-Empty:\r\n${HEADER}Cc:bob@example.org\r\n\r\n \t \r\n\r\n a\t b \r\n \r\n\t\r\n`,
  'with folded and repeated fields': `${HEADER}Cc: a@example.org,\r\n\tb@example.org\r\nReceived: one\r\nReceived: two\r\n\r\nHello\r\n`,
  'signed by somebody else': `DKIM-Signature: v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=eA==; b=eA==\r\n${HEADER}\r\nHello\r\n`,
  'of two parts': `${HEADER}MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nprologue\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa4 \r\n\r\n--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: 8bit\r\n\r\n${'\xc3\xa4'.repeat(700)}\r\n--b--\r\n\r\n`,
  'of a megabyte': `${HEADER}\r\n${`${'some words '.repeat(6)} \r\n`.repeat(15_000)}`,
}

for (const [name, message] of Object.entries(MESSAGES)) {
  t.test(`a message ${name} can be verified`, async t => {
    for (const extensions of [['8BITMIME'], []]) {
      const { server, session: open } = await session(t, { extensions })
      t.match((await open.send(ENVELOPE, outgoingOf(t, message))).end, { stage: 'dot', code: 250 })
      const received = server.messages[0]?.data ?? ''
      const { tags, ...verified } = verifyDkim(received, publicKey)
      t.strictSame(verified, { bodyHash: true, signature: true })
      t.match(tags, { v: '1', a: 'rsa-sha256', c: 'relaxed/relaxed', d: 'example.org', s: 's1' })
      for (const field of ['from', 'to', 'subject', 'date']) t.ok(tags.h?.split(':').includes(field), field)
      t.notMatch(received, 'eve@example.org')
      t.strictSame(server.violations, [])
    }
  })
}

t.test('a verifier that shares no code with ours agrees', needs(dkimpyProblem()), async t => {
  const received: string[] = []
  for (const extensions of [['8BITMIME'], []]) {
    const { server, session: open } = await session(t, { extensions })
    for (const message of Object.values(MESSAGES)) await open.send(ENVELOPE, outgoingOf(t, message))
    if (extensions.length > 0)
      await open.send(ENVELOPE, outgoingOf(t, `X-Raw: Gr\xc3\xbc\xc3\x9fe\xa0\r\n${MESSAGES['a plain one']}`))
    received.push(...server.messages.map(({ data }) => data))
  }
  const { record } = openSigner(dkimOf(t))
  const changed = received.map(message => message.replace(/^Subject: {2}two/m, 'Subject: three'))
  t.strictSame(verifyWithDkimpy([...received, ...changed], record), [
    ...received.map(() => true),
    ...changed.map(() => false),
  ])
})

t.test('a changed message cannot be verified', async t => {
  const { server, session: open } = await session(t)
  await open.send(ENVELOPE, outgoingOf(t, MESSAGES['a plain one']!))
  const received = server.messages[0]?.data ?? ''
  t.match(verifyDkim(received.replace('world', 'World'), publicKey), { bodyHash: false, signature: true })
  t.match(verifyDkim(received.replace('Ann', 'Eve'), publicKey), { bodyHash: true, signature: false })
  t.match(verifyDkim(`${received} \r\n`, publicKey), { bodyHash: true, signature: true }, 'relaxed is relaxed')
})

t.test('any body can be verified', async t => {
  const { server, session: open } = await session(t)
  const piece = fc.constantFrom('\r', '\n', '\r\n', ' ', '\t', '.', 'a', '\r\n.\r\n', '  \r\n', '\xe4')
  const bodies = fc.array(piece, { maxLength: 30 }).map(pieces => pieces.join(''))
  await fc.assert(
    fc.asyncProperty(bodies, async body => {
      const { end } = await open.send(ENVELOPE, outgoingOf(t, `${HEADER}\r\n${body}`))
      const { bodyHash, signature } = verifyDkim(server.messages.pop()?.data ?? '', publicKey)
      return end.code === 250 && bodyHash && signature
    }),
    { numRuns: 100 },
  )
})

t.test('a key that cannot be used: nothing is sent', async t => {
  const { privateKey: ed } = generateKeyPairSync('ed25519')
  const { privateKey: short } = generateKeyPairSync('rsa', { modulusLength: 512 })
  const exported = (key: typeof ed): string | Buffer => key.export({ type: 'pkcs8', format: 'pem' })
  for (const [file, text] of [
    ['/nowhere/key.pem', 'ENOENT'],
    [keyFile(t, 'nonsense'), 'it is not a private key in PEM format without a passphrase'],
    [keyFile(t, exported(ed)), 'the key is ed25519, not rsa'],
    [keyFile(t, exported(short)), 'the key has 512 bits; make one of 2048'],
  ] as const) {
    const server = await startSmtpScript()
    t.teardown(() => server.close())
    const dkim = { domain: 'example.org', selector: 's1', keyFile: file }
    const refused = await openSession(smtpConfigFor(server.port, { dkim })).catch(error => error as SessionError)
    t.match(refused, { event: { stage: 'local', text: `MAILDROP_DKIM_KEY_FILE ${file}: ${text}` } })
    t.equal(server.connections, 0)
  }
})

t.test('what is to be published is the public key', async t => {
  const { name, text } = openSigner(dkimOf(t)).record
  t.equal(name, 's1._domainkey.example.org')
  const [, der = ''] = /^v=DKIM1; k=rsa; p=([A-Za-z0-9+/=]+)$/.exec(text) ?? []
  const key = createPublicKey({ key: Buffer.from(der, 'base64'), format: 'der', type: 'spki' })
  t.ok(key.equals(publicKey))
})

t.test('the daemon signs, and holds everything back while the key is missing', async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const file = keyFile(t)
  rmSync(file)
  const drop = testMaildrop(t, server.port, {
    MAILDROP_DKIM_DOMAIN: 'example.org',
    MAILDROP_DKIM_SELECTOR: 's1',
    MAILDROP_DKIM_KEY_FILE: file,
  })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], `stage=local text="MAILDROP_DKIM_KEY_FILE ${file}: ENOENT"`)
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0 }])
  writeFileSync(file, pem, { mode: 0o600 })
  await drop.drained()
  t.match(verifyDkim(server.messages[0]?.data ?? '', publicKey), { bodyHash: true, signature: true })
})
