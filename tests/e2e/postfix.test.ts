/**
 * A page's and other programs' mail through a real Postfix: STARTTLS with a checked certificate, a SASL login, and what lies in the
 * Maildir at the end compared with what was sent, byte for byte and by a parser that is not ours (Python's).
 */
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parseMailFile } from '../../maildrop/spool/format.ts'
import { MaildropHost, openDatabase } from '../../objects/index.ts'
import { PROJECT } from '../support/children.ts'
import { mailsIn, namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { type Postfix, postfixProblem, startPostfix } from '../support/postfix.ts'
import { program, removeDirectory } from '../support/program.ts'
import { type PythonMail, readWithPython } from '../support/python-mail.ts'
import { waitFor } from '../support/waiting.ts'
import { outlastWrongPassword } from '../support/wrong-password.ts'

// Most of the time is waiting.
t.jobs = 3

const USERS = { shop: 'se"cret $1' }
const peer = needs(postfixProblem({ users: USERS }))

async function setUp(t: Test, env: Record<string, string> = {}): Promise<{ postfix: Postfix; drop: TestMaildrop }> {
  const postfix = await startPostfix({ users: USERS })
  t.teardown(() => postfix.stop())
  const drop = testMaildrop(t, postfix.port, {
    SMTP_HOST: 'localhost',
    MAILDROP_TLS: '2',
    MAILDROP_TLS_CA: join(PROJECT, 'tests/support/tls/cert.pem'),
    MAILDROP_LOGIN: 'shop',
    MAILDROP_PASSWORD: USERS.shop,
    ...env,
  })
  return { postfix, drop }
}

interface Arrived {
  /** What stands in front of the message, put there by Postfix. */
  readonly trace: string
  /** The message, line ends as in the Maildir. */
  readonly message: Buffer
}

/** Takes off Return-Path, Delivered-To and Received, with the lines that continue them. */
function arrived(mail: Buffer): Arrived {
  const text = mail.toString('latin1')
  const [trace = ''] = /^(?:(?:Return-Path|X-Original-To|Delivered-To|Received):.*\n(?:[ \t].*\n)*)*/.exec(text) ?? []
  return { trace, message: mail.subarray(trace.length) }
}

const LATIN1 = 'latin1'
const inMaildir = (message: Buffer): string => message.toString(LATIN1).replaceAll('\r\n', '\n')

t.test(
  'mail of a transaction passes Postfix with STARTTLS and a login, and not a byte of it changes',
  peer,
  async t => {
    const { postfix, drop } = await setUp(t)
    const binary = randomBytes(300_000)
    const home = mkdtempSync(join(tmpdir(), 'postfix-db-'))
    t.teardown(() => removeDirectory(home))
    process.env.MAILDROP_HOME = drop.home
    const db = await openDatabase(join(home, 'objects'))
    t.teardown(() => db.close())
    await db.transact(async app => {
      const host = app.create('/mail/XYZ', new MaildropHost(), { parents: true })
      await host.simpleSend(
        'plain@example.org',
        'shop@example.org',
        'Grüße – 你好',
        'Zeile mit ä\n.\n..\n. end\nFrom here\n',
      )
      await host.send({
        from: '"The shop" <shop@example.org>',
        to: ['rich@example.org', '"O\'Brien, Ann" <second@example.org>'],
        bcc: 'secret@example.org',
        subject: 'Your invoice',
        text: 'Dear customer,\n\nsee the attachment.\n',
        html: '<p>Dear customer,</p><p>see the <b>attachment</b>.</p>',
        attachments: [{ filename: 'Rechnung Größe.bin', content: binary, contentType: 'application/octet-stream' }],
      })
      await host.send(
        `From: shop@example.org\nTo: long@example.org\nSubject: ${'long words '.repeat(150)}\n\n${'x'.repeat(3000)}\n`,
      )
    })
    await waitFor('three files', () => mailsIn(drop.spool).length === 3)
    const sent = namesIn(drop.spool)
      .filter(name => !name.startsWith('.') && name !== 'failed')
      .map(name => parseMailFile(readFileSync(join(drop.spool, name))))
    const copies = sent.reduce((sum, { envelope }) => sum + envelope.to.length, 0)

    const daemon = await drop.daemon()
    await drop.drained()
    await waitFor('all copies in the Maildir', () => postfix.mail().length === copies)
    const mails = postfix.mail().map(arrived)
    const expected = sent.flatMap(({ envelope, message }) => envelope.to.map(() => inMaildir(message)))
    t.strictSame(mails.map(({ message }) => message.toString(LATIN1)).sort(), expected.sort(), 'byte for byte')
    for (const { trace } of mails) {
      t.match(trace, /using TLSv1\.3 .*\n/)
      t.match(trace, /\(Authenticated sender: shop@localhost\)/)
      t.match(trace, /^Return-Path: <shop@example\.org>$/m)
    }
    const recipients = mails.map(({ trace }) => /^Delivered-To: (.*)$/m.exec(trace)?.[1]).sort()
    t.strictSame(
      recipients,
      ['long', 'plain', 'rich', 'second', 'secret'].map(name => `${name}@example.org`),
    )

    const parsed = new Map<string, PythonMail>()
    for (const [i, mail] of readWithPython(mails.map(({ message }) => message)).entries())
      parsed.set(/^Delivered-To: (\w+)/m.exec(mails[i]!.trace)?.[1] ?? '', mail)
    const header = (who: string, name: string) => parsed.get(who)?.headers.find(([key]) => key === name)?.[1]
    // nodemailer names an attachment twice: as RFC 2231 has it, and in an old way, which Python does not like.
    const defects = [...parsed.values()].flatMap(mail => mail.defects).filter(text => !/encoded.word/.test(text))
    t.strictSame(defects, [])
    t.equal(header('plain', 'Subject'), 'Grüße – 你好')
    t.equal(parsed.get('plain')?.text, 'Zeile mit ä\n.\n..\n. end\nFrom here\n')
    const [body, attachment] = parsed.get('secret')?.parts ?? []
    t.strictSame(
      body?.parts.map(({ type }) => type),
      ['text/plain', 'text/html'],
    )
    t.equal(attachment?.filename, 'Rechnung Größe.bin')
    t.ok(Buffer.from(attachment?.data ?? '', 'base64').equals(binary), 'the attachment is what was attached')
    t.equal(header('secret', 'To'), 'rich@example.org, "O\'Brien, Ann" <second@example.org>')
    t.equal(header('secret', 'Bcc'), undefined)
    t.equal(parsed.get('long')?.text, `${'x'.repeat(3000)}\n`)
    for (const { message } of mails) t.notMatch(message.toString(LATIN1), /[^\n]{999}/, 'no line is too long')

    t.match(drop.lines('connected')[0], /relay=localhost:\d+ protection=TLSv1\.3 login=shop/)
    t.equal(drop.lines('sent').length, copies)
    t.match(drop.lines('sent')[0], /code=250 enhanced=2\.0\.0 text="Ok: queued as /)
    t.notMatch(drop.log() + daemon.output(), 'se"cret')
    daemon.process.kill('SIGTERM')
    t.match(await daemon.ended, { end: 0, stderr: '' })
  },
)

t.test('a wrong password at Postfix loses nothing, and costs no attempt', peer, async t => {
  const { postfix, drop } = await setUp(t, { MAILDROP_PASSWORD: 'wrong' })
  await outlastWrongPassword(t, drop, USERS.shop, () => postfix.mail().length)
  t.notMatch(postfix.log(), /fatal|panic/)
})

/** A shell and a Python program that put mail into the spool named by their first argument. */
const DROPPERS: Record<string, { readonly run: string; readonly script: string }> = {
  'a shell script that renames': {
    run: '/bin/sh',
    script: `printf '##To:shell-rename@example.org\\n##From:cron@example.org\\nSubject: backup\\n\\nrenamed ä\\n.\\n' > "$1/../draft" && mv "$1/../draft" "$1/backup done"`,
  },
  'a shell script with a .lck file': {
    run: '/bin/sh',
    script: `cd "$1" && : > report.lck && { printf '##To:shell-lck@example.org\\n##From:\\nSubject: report\\n\\n'; sleep 0.3; uname; sleep 0.3; echo end; } > report && rm report.lck`,
  },
  'a Python program': {
    run: 'python3',
    script: `
import email.message, email.policy, os, sys
message = email.message.EmailMessage(policy=email.policy.SMTP)
message['From'] = 'cron@example.org'
message['To'] = 'python@example.org'
message['Subject'] = 'Bericht für März'
message.set_content('Grüße\\n' * 50)
message.add_attachment(bytes(range(256)) * 40, maintype='application', subtype='octet-stream', filename='werte.bin')
with open(sys.argv[1] + '/../python', 'wb') as f:
    f.write(b'##To:python@example.org\\n##From:cron@example.org\\n' + message.as_bytes())
os.rename(sys.argv[1] + '/../python', sys.argv[1] + '/python.mail')
`,
  },
}

t.test('files that other programs drop reach Postfix whole, with the null sender too', peer, async t => {
  const { postfix, drop } = await setUp(t)
  mkdirSync(drop.spool, { recursive: true })
  await drop.daemon()
  for (const [what, { run, script }] of Object.entries(DROPPERS)) {
    const { code, stderr } = await program(drop.home, run, [
      '-c',
      script,
      ...(run === '/bin/sh' ? ['sh'] : []),
      drop.spool,
    ])
    t.equal(code, 0, `${what}: ${stderr}`)
  }
  await waitFor('all in the Maildir', () => postfix.mail().length === 3)
  const mails = postfix.mail().map(arrived)
  const mailTo = (name: string) => mails.find(({ trace }) => trace.includes(`Delivered-To: ${name}@`))
  t.equal(mailTo('shell-rename')?.message.toString(), 'Subject: backup\n\nrenamed ä\n.\n')
  t.equal(mailTo('shell-lck')?.message.toString(), 'Subject: report\n\nLinux\nend\n')
  t.match(mailTo('shell-lck')?.trace, /^Return-Path: <>$/m)
  const [python] = readWithPython([mailTo('python')!.message])
  t.strictSame(python?.defects, [])
  t.equal(python?.parts[0]?.text, 'Grüße\n'.repeat(50))
  t.equal(python?.parts[1]?.data, Buffer.from(Array.from({ length: 256 * 40 }, (_, i) => i % 256)).toString('base64'))
})
