/**
 * The daemon against aiosmtpd, a server that shares no code with ours, nodemailer or Postfix: STARTTLS, a login, SMTPUTF8, replies per
 * recipient, and every byte of what arrives.
 */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { launchProgram, PROJECT } from '../support/children.ts'
import { makeDue, namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { needs } from '../support/peers.ts'
import { answers, freePort } from '../support/ports.ts'
import { readWithPython } from '../support/python-mail.ts'
import { waitFor } from '../support/waiting.ts'
import { outlastWrongPassword } from '../support/wrong-password.ts'

/** The system's own Python, since that is where the Debian package is. */
const PYTHON = '/usr/bin/python3'
const missing =
  spawnSync(PYTHON, ['-c', 'import aiosmtpd']).status === 0 ? undefined : 'install the Debian package python3-aiosmtpd'
const peer = needs(missing)

interface Taken {
  readonly from: string
  readonly to: string[]
  readonly options: string[]
  readonly tls: boolean
  readonly user: string
  readonly content: Buffer
}

const PASSWORD = 'se"cret $1'

async function setUp(t: Test, env: Record<string, string> = {}): Promise<{ drop: TestMaildrop; taken: () => Taken[] }> {
  const port = await freePort()
  const [cert, key] = ['cert', 'key'].map(name => join(PROJECT, 'tests/support/tls', `${name}.pem`)) as [string, string]
  const args = ['-I', join(PROJECT, 'tests/support/smtp-peer.py'), `${port}`, cert, key, 'shop', PASSWORD]
  const server = launchProgram(t, PYTHON, args)
  await waitFor('aiosmtpd to listen', () => {
    if (server.process.exitCode !== null) throw new Error(server.output())
    return answers(port)
  })
  const drop = testMaildrop(t, port, {
    SMTP_HOST: 'localhost',
    MAILDROP_TLS: '2',
    MAILDROP_TLS_CA: cert,
    MAILDROP_LOGIN: 'shop',
    MAILDROP_PASSWORD: PASSWORD,
    MAILDROP_INTERVAL: '0.5',
    ...env,
  })
  const taken = (): Taken[] =>
    server
      .output()
      .split('\n')
      .filter(line => line.startsWith('{') && line.endsWith('}'))
      .map(line => JSON.parse(line))
      .map(each => ({ ...each, content: Buffer.from(each.content, 'base64') }))
  return { drop, taken }
}

const HEADER = 'From: sender@example.org\r\nSubject: hello\r\nMessage-ID: <x@example.org>\r\n'

t.test('each recipient gets its own answer, and the message once', peer, async t => {
  const { drop, taken } = await setUp(t)
  await drop.daemon()
  await drop.submit(['ann@example.org', 'no@example.org', 'later@example.org'], { message: `${HEADER}\r\nbody\r\n` })
  await waitFor('the first attempt', () => drop.lines('defer-recipient').length === 1)
  await waitFor('the deferred one', () => namesIn(drop.spool, '.deferred').length === 1)
  makeDue(drop.spool)
  await drop.drained()
  await waitFor('both', () => taken().length === 2)
  t.match(taken(), [{ to: ['ann@example.org'] }, { to: ['later@example.org'] }])
  t.match(
    ['sent', 'fail-recipient', 'defer-recipient'].map(verdict => drop.lines(verdict).length),
    [2, 1, 1],
  )
  t.match(
    drop.lines('fail-recipient')[0],
    /to=no@example\.org .*stage=rcpt code=550 enhanced=5\.1\.1 text="no such user"/,
  )
  for (const { tls, user } of taken()) t.match({ tls, user }, { tls: true, user: 'shop' })
})

t.test(
  'every byte arrives: dots, long lines, 8 bits, and what is large; an independent parser agrees',
  peer,
  async t => {
    const { drop, taken } = await setUp(t)
    const binary = randomBytes(2_000_000)
    const encoded = binary.toString('base64').replace(/(.{76})/g, '$1\r\n')
    const bodies: Record<string, string> = {
      dots: '.\r\n..\r\n.end\r\nFrom here\r\n\r\n',
      wide: 'Grüße – 你好\r\n',
      large: `${encoded}\r\n`,
    }
    const headers: Record<string, string> = {
      wide: 'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n',
      large: 'Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nMIME-Version: 1.0\r\n',
    }
    const sent = new Map<string, string>()
    for (const [name, body] of Object.entries(bodies)) {
      const message = `${HEADER}${headers[name] ?? ''}\r\n${body}`
      sent.set(`${name}@example.org`, message)
      await drop.submit([`${name}@example.org`], { message })
    }
    await drop.daemon()
    await drop.drained()
    await waitFor('all of it', () => taken().length === 3)
    for (const { to, content } of taken())
      t.equal(content.toString() === sent.get(to[0]!), true, `${to[0]}, byte for byte`)
    const parsed = readWithPython(taken().map(({ content }) => content))
    for (const { defects } of parsed) t.strictSame(defects, [])
    const part = (name: string) => parsed[taken().findIndex(({ to }) => to[0] === `${name}@example.org`)]
    t.equal(part('wide')?.text, 'Grüße – 你好\n')
    t.ok(Buffer.from(part('large')?.data ?? '', 'base64').equals(binary))
  },
)

t.test('addresses beyond ASCII go where SMTPUTF8 is offered, and the null sender arrives as such', peer, async t => {
  const { drop, taken } = await setUp(t)
  await drop.submit(['änn@example.org'], { from: 'würze@example.org', message: `${HEADER}\r\nbody\r\n` })
  await drop.submit(['bob@example.org'], { from: '', message: `${HEADER}\r\nnull\r\n` })
  await drop.daemon()
  await drop.drained()
  await waitFor('both', () => taken().length === 2)
  const [wide, none] = taken().sort((a, b) => b.from.length - a.from.length)
  t.match(wide, { from: 'würze@example.org', to: ['änn@example.org'], options: ['SMTPUTF8'] })
  t.equal(none?.from, '<>')
})

t.test('a wrong password costs no attempt, and mail flows with the right one', peer, async t => {
  const { drop, taken } = await setUp(t, { MAILDROP_PASSWORD: 'wrong' })
  await outlastWrongPassword(t, drop, PASSWORD, () => taken().length)
})
