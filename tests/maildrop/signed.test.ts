/** What is signed already leaves as it came: signatures made by others still verify. */
import { execFileSync, spawnSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'
import t, { type Test } from 'tap'
import { composeMessage } from '../../maildrop/compose/index.ts'
import { hostOf, mailDatabase } from '../support/mail-database.ts'
import { directory } from '../support/program.ts'

const TEXT = 'Grüße,\n\n  dies ist  unterschrieben.  \n.\nFrom the beginning\n\n\n'

/** A message signed by nodemailer. */
async function dkimSigned(message: object, headerFieldNames?: string): Promise<Buffer> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const transport = createTransport({
    streamTransport: true,
    buffer: true,
    newline: 'windows',
    dkim: {
      domainName: 'example.org',
      keySelector: 'test',
      privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      ...(headerFieldNames !== undefined && { headerFieldNames }),
    },
  })
  const sent = await transport.sendMail({
    from: 'a@example.org',
    to: 'Zoë <b@example.org>',
    subject: 'Grüße',
    ...message,
  })
  return sent.message as Buffer
}

t.test('a message with a DKIM signature is composed byte for byte', async t => {
  const messages = [
    { text: TEXT },
    { html: '<p>Grüße</p>', text: TEXT, attachments: [{ filename: 'ä.bin', content: Buffer.alloc(5000, 0x0d) }] },
    { text: 'x', headers: { 'X-Long': 'word '.repeat(300), 'X-Utf': 'ä'.repeat(200) } },
  ]
  for (const message of messages) {
    const signed = await dkimSigned(message)
    t.match(signed.toString('latin1'), /^DKIM-Signature: /)
    const { content, envelope } = await composeMessage(signed, { id: 'x' })
    t.ok(
      content.equals(signed.subarray(-2).toString() === '\r\n' ? signed : Buffer.concat([signed, Buffer.from('\r\n')])),
    )
    t.same(envelope, { from: 'a@example.org', to: ['b@example.org'] })
  }
})

t.test('it is so in the spool, too, and a Bcc that was not signed leaves it', async t => {
  const { db, mails } = await mailDatabase(t)
  const signed = await dkimSigned({ text: 'ASCII only\n' })
  const withBcc = Buffer.concat([Buffer.from('Bcc: hidden@example.org\r\n'), signed])
  await db.transact(app => hostOf(app).send(withBcc))
  const [mail] = await mails()
  t.ok(mail?.includes('\n##From:a@example.org\n'))
  t.match(mail, '##To:b@example.org,hidden@example.org\n')
  t.equal(mail?.slice(mail.indexOf('DKIM-Signature')).trimEnd(), signed.toString().trimEnd())
})

/** A certificate, and a message that openssl signed with it as S/MIME. */
async function smimeSigned(t: Test, text: string, ...options: string[]) {
  const home = await directory(t)
  const file = (name: string) => join(home, name)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  openssl(
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-keyout',
    file('key'),
    '-out',
    file('cert'),
    '-subj',
    '/CN=a',
  )
  writeFileSync(file('text'), text)
  const sign = ['-sign', '-in', file('text'), '-signer', file('cert'), '-inkey', file('key'), '-out', file('signed')]
  openssl('smime', ...sign, '-from', 'a@example.org', '-to', 'b@example.org', '-subject', 'Signed', ...options)
  const verify = (message: Uint8Array) => {
    writeFileSync(file('message'), message)
    const { status, stdout } = spawnSync('openssl', ['smime', '-verify', '-noverify', '-in', file('message')])
    return status === 0 ? stdout.toString('latin1') : undefined
  }
  return { signed: readFileSync(file('signed')), verify }
}

t.test('the signature of a multipart/signed (S/MIME) verifies after composing', async t => {
  const text =
    'Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGr\u00fc\u00dfe  \n\n\nFrom the end\n'
  for (const options of [[], ['-text']]) {
    const { signed, verify } = await smimeSigned(t, text, ...options)
    t.ok(verify(signed), 'as openssl made it')
    for (const message of [signed, signed.toString('utf8')]) {
      const { content } = await composeMessage(message, { id: 'x' })
      t.ok(verify(content), `${options} ${typeof message}`)
      t.equal(verify(content), verify(signed))
      const changed = Buffer.from(content.toString('latin1').replace('From the end', 'From the End'), 'latin1')
      t.equal(verify(changed), undefined, 'a change would be noticed')
    }
  }
})
