/** Logins: by which mechanism, with which password, and that nobody else sees it. */
import { chmodSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openPasswords } from '../../maildrop/delivery/password.ts'
import { openSession, SessionError } from '../../maildrop/delivery/session.ts'
import type { PasswordSource, SmtpLogin } from '../../maildrop/smtp-config.ts'
import { removeDirectory } from '../support/program.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.jobs = 3

const FIXED: PasswordSource = { from: 'value', value: 'hunter2' }

async function setUp(t: Test, script: SmtpScript) {
  const server = await startSmtpScript({ users: { ann: 'hunter2' }, ...script })
  t.teardown(() => server.close())
  const attempt = async (
    login: Partial<SmtpLogin>,
    encrypted = false,
    passwords?: ReturnType<typeof openPasswords>,
  ) => {
    const as: SmtpLogin = { user: 'ann', mechanism: 'auto', password: FIXED, ...login }
    const smtp = smtpConfigFor(server.port, { tls: encrypted ? 'required' : 'never', login: as })
    try {
      const session = await openSession(smtp, { passwords })
      session.quit()
      await session.closed
      return undefined
    } catch (error) {
      if (!(error instanceof SessionError)) throw error
      t.notMatch(`${error.message} ${JSON.stringify(error.event)} ${error.stack}`, /hunter|aHVudGVy|aHVudGVyMg|token/)
      return error.event
    }
  }
  return { server, attempt }
}

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'maildrop-login-'))
  t.teardown(() => removeDirectory(path))
  return path
}

const ALL = 'AUTH PLAIN LOGIN CRAM-MD5 XOAUTH2'

t.test('every mechanism logs in with the right password and not with a wrong one', async t => {
  for (const mechanism of ['plain', 'login', 'cram-md5', 'xoauth2'] as const)
    for (const encrypted of [false, true]) {
      const { server, attempt } = await setUp(t, { extensions: ['STARTTLS', ALL] })
      t.equal(await attempt({ mechanism }, encrypted), undefined, mechanism)
      t.match(server.logins, [{ mechanism: mechanism.toUpperCase(), user: 'ann', secure: encrypted }])
      const event = await attempt({ mechanism, password: { from: 'value', value: 'hunter3' } }, encrypted)
      t.match(event, { stage: 'login', code: 535, enhanced: '5.7.8', text: 'wrong name or secret' }, mechanism)
      t.equal(server.logins.length, 2, 'a password that cannot change is not tried twice')
      t.strictSame(server.violations, [])
    }
})

t.test('auto takes what the server offers, and in the clear rather what does not show the password', async t => {
  const chosen = async (offered: string, encrypted: boolean): Promise<string | undefined> => {
    const { server, attempt } = await setUp(t, { extensions: ['STARTTLS', offered] })
    await attempt({}, encrypted)
    return server.logins[0]?.mechanism
  }
  t.equal(await chosen(ALL, true), 'PLAIN')
  t.equal(await chosen(ALL, false), 'CRAM-MD5')
  t.equal(await chosen('AUTH=LOGIN', true), 'LOGIN')
  t.equal(await chosen('auth login', false), 'LOGIN')
  t.equal(await chosen('AUTH CRAM-MD5', true), 'CRAM-MD5')
})

t.test('a mechanism that the server does not offer is an error, and nothing is sent', async t => {
  for (const [offered, mechanism, text] of [
    ['AUTH GSSAPI NTLM', 'auto', 'the server offers AUTH GSSAPI NTLM, but MAILDROP_AUTH is auto'],
    ['AUTH XOAUTH2', 'auto', 'the server offers AUTH XOAUTH2, but MAILDROP_AUTH is auto'],
    ['AUTH PLAIN', 'cram-md5', 'the server offers AUTH PLAIN, but MAILDROP_AUTH is cram-md5'],
    ['AUTH', 'auto', 'the server offers no login (AUTH), but MAILDROP_LOGIN is set'],
    ['X-AUTH PLAIN', 'plain', 'the server offers no login (AUTH), but MAILDROP_LOGIN is set'],
  ] as const) {
    const { server, attempt } = await setUp(t, { extensions: [offered] })
    t.match(await attempt({ mechanism }), { stage: 'login', code: undefined, text })
    t.notOk(server.commands.some(line => /^(AUTH|MAIL)/.test(line)))
  }
  const { attempt } = await setUp(t, { ehlo: () => '502 5.5.2 old' })
  t.match(await attempt({}), { stage: 'greeting', code: 502 }, 'also not after HELO')
})

t.test('a reply that repeats the password does not bring it into the log', async t => {
  const auth = () => '535 5.7.8 ann may not use hunter2 (aHVudGVyMg==)'
  const { attempt } = await setUp(t, { extensions: ['AUTH PLAIN'], auth })
  t.match(await attempt({}), { text: 'ann may not use ******** (********)' })
  const sent = ['\0ann\0hunter2', 'user=ann\x01auth=Bearer hunter2\x01\x01'].map(text =>
    Buffer.from(text).toString('base64'),
  )
  const whole = await setUp(t, { extensions: ['AUTH PLAIN'], auth: () => `535 5.7.8 not ${sent.join(' nor ')}` })
  t.match(await whole.attempt({}), { text: 'not ******** nor ********' }, 'nor what was sent')
})

t.test('a password from a file is the first line, as it is at every login', async t => {
  const { server, attempt } = await setUp(t, { extensions: ['AUTH PLAIN'] })
  const path = join(directory(t), 'secret')
  const login = { password: { from: 'file', path } } as const
  t.match(await attempt(login), { stage: 'login', text: `cannot read MAILDROP_PASSWORD_FILE ${path}: ENOENT` })
  writeFileSync(path, '\nhunter2')
  t.match(await attempt(login), { text: `MAILDROP_PASSWORD_FILE ${path}: its first line is empty, where` })
  writeFileSync(path, 'a\tb')
  t.match(await attempt(login), { text: /control characters$/ })
  writeFileSync(path, 'old\n')
  const passwords = openPasswords(login.password)
  t.match(await attempt(login, false, passwords), { code: 535 })
  writeFileSync(path, 'hunter2\r\nand a note\n')
  t.equal(await attempt(login, false, passwords), undefined)
  t.equal(server.logins.length, 2)
})

/** A program that prints what stands in `out`, and a line to `count` each time. */
function program(t: Test, more = '') {
  const dir = directory(t)
  const path = join(dir, 'get password')
  const file = (name: string): string => join(dir, name)
  writeFileSync(path, `#!/bin/sh\necho "$1" >> '${file('count')}'\n${more}\ncat '${file('out')}'\n`)
  chmodSync(path, 0o700)
  const count = (): number =>
    existsSync(file('count')) ? readFileSync(file('count'), 'utf8').split('\n').length - 1 : 0
  const login = { password: { from: 'command', command: [path, '$HOME;x'] } } as const
  return { login, count, file, prints: (text: string) => writeFileSync(file('out'), text) }
}

t.test('a password from a command is kept, and asked for again when the server refuses it', async t => {
  for (const mechanism of ['plain', 'xoauth2'] as const) {
    const { server, attempt } = await setUp(t, { extensions: [ALL], users: { ann: 'token-1' } })
    const { login, count, file, prints } = program(t)
    const passwords = openPasswords(login.password)
    const again = () => attempt({ ...login, mechanism }, false, passwords)
    prints('token-1\nexpires tomorrow\n')
    t.equal(await again(), undefined)
    t.equal(await again(), undefined)
    t.equal(count(), 1)
    t.equal(readFileSync(file('count'), 'utf8'), '$HOME;x\n', 'no shell has seen its arguments')

    // It has expired, and there is a new one: within the same connection.
    server.script = { ...server.script, users: { ann: 'token-2' } }
    prints('token-2\n')
    const { connections } = server
    t.equal(await again(), undefined)
    t.equal(server.connections, connections + 1)
    t.equal(count(), 2)

    // It has expired, and there is none yet: asked for once more, and again at the next attempt.
    server.script = { ...server.script, users: { ann: 'token-3' } }
    t.match(await again(), { stage: 'login', code: 535 })
    t.equal(count(), 3)
    t.match(await again(), { stage: 'login', code: 535 })
    t.equal(count(), 4)
  }
})

t.test('a server that refuses a token by a challenge first', async t => {
  const { server, attempt } = await setUp(t, {
    extensions: ['AUTH XOAUTH2'],
    users: { ann: 'token-1' },
    auth: login => (login.matches('token-1') ? undefined : '334 eyJzdGF0dXMiOiI0MDEifQ=='),
  })
  const { login, count, prints } = program(t)
  const passwords = openPasswords(login.password)
  prints('token-1')
  const mechanism = 'xoauth2'
  t.equal(await attempt({ ...login, mechanism }, false, passwords), undefined)
  server.script = {
    ...server.script,
    auth: login => (login.matches('token-2') ? '235 ok' : '334 eyJzdGF0dXMiOiI0MDEifQ=='),
  }
  prints('token-2')
  t.equal(await attempt({ ...login, mechanism }, false, passwords), undefined)
  t.equal(count(), 2)
})

t.test('several connections at a time ask the command once', async t => {
  const { attempt } = await setUp(t, { extensions: ['AUTH PLAIN'] })
  const { login, count, prints } = program(t, 'sleep 0.3')
  prints('hunter2')
  const passwords = openPasswords(login.password)
  t.strictSame(await Promise.all([1, 2, 3].map(() => attempt(login, false, passwords))), [
    undefined,
    undefined,
    undefined,
  ])
  t.equal(count(), 1)
})

t.test('a very short password is hidden where it stands alone, and leaves the reply readable', async t => {
  const cases: [string, string, string][] = [
    ['e', '535 5.7.8 the password e (ZQ==) is refused', '5.7.8 the password ******** (********) is refused'],
    ['.', '535 no. Use another', 'no. Use another'],
    ['(a', '535 user=ann password="(a"', 'user=ann password="********"'],
    ['word', '535 a passwordword', 'a pass****************'],
  ]
  for (const [value, reply, said] of cases) {
    const { attempt } = await setUp(t, { extensions: ['AUTH LOGIN'], auth: () => reply })
    const event = await attempt({ mechanism: 'login', password: { from: 'value', value } })
    t.equal(`${event?.enhanced ?? ''} ${event?.text}`.trim(), said, value)
  }
})

t.test('a command that fails defers, and says what to do', async t => {
  const { server, attempt } = await setUp(t, { extensions: ['AUTH PLAIN'] })
  const failing = program(t, 'echo hunter2; echo hunter2 >&2; exit 3')
  t.match(await attempt(failing.login), {
    stage: 'login',
    text: /failed with exit status 3; run it by hand to see why$/,
  })
  const endless = program(t, 'yes hunter2')
  t.match(await attempt(endless.login), { stage: 'login', text: /printed more than 65536 bytes$/ })
  const absent = { from: 'command', command: ['/nowhere/x'] } as const
  t.match(await attempt({ password: absent }), { text: 'MAILDROP_PASSWORD_COMMAND /nowhere/x cannot be run: ENOENT' })
  t.strictSame(server.logins, [])
})

t.test('a command that does not end is ended, with all it has started', async t => {
  const { file, login } = program(t, 'sleep 600 & echo $! > "$0.pid"; sleep 600')
  await t.rejects(openPasswords(login.password, 3000).get(), /took more than 3 seconds$/)
  const pid = Number(readFileSync(file('get password.pid'), 'utf8'))
  await waitFor('the end of what it has started', () => !isAlive(pid))
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
