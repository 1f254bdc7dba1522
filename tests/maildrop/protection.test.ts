/** TLS and login: what is configured is done, or nothing is sent; and the log shows it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { PROJECT } from '../support/children.ts'
import { startInbox } from '../support/inbox.ts'
import { testMaildrop } from '../support/maildrop.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const pem = (name: string): string => join(PROJECT, 'tests', 'support', 'tls', `${name}.pem`)
const LOGIN = { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD: 'hunter2' }

/** A server that offers STARTTLS and takes mail only after a login, and counts the logins that were tried. */
async function strictServer(t: Test, options: { login?: boolean } = {}) {
  const tried: string[] = []
  const inbox = await startInbox({
    key: readFileSync(pem('key')),
    cert: readFileSync(pem('cert')),
    authOptional: !options.login,
    onAuth({ username, password }, { secure }, done) {
      tried.push(`${username}:${password} ${secure ? 'encrypted' : 'plain'}`)
      if (password === 'hunter2') done(null, { user: username })
      else done(new Error('no such login'))
    },
  })
  t.teardown(() => inbox.close())
  return { inbox, tried }
}

t.test('TLS 2 with a certificate that is trusted: the login goes over the encrypted connection', async t => {
  const { inbox, tried } = await strictServer(t, { login: true })
  const drop = testMaildrop(t, inbox.port, {
    SMTP_HOST: 'localhost',
    MAILDROP_TLS: '2',
    MAILDROP_TLS_CA: pem('cert'),
    ...LOGIN,
  })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await drop.drained()
  t.match(inbox.messages, [{ secure: true, user: 'ann' }])
  t.strictSame(tried, ['ann:hunter2 encrypted'])
  t.match(drop.lines('connected')[0], /relay=localhost:\d+ protection=TLSv1\.[23] login=ann/)
  t.notMatch(drop.log(), 'hunter2')
})

t.test('TLS 2 with a certificate that nobody vouches for: nothing is sent, and no password', async t => {
  const { inbox, tried } = await strictServer(t, { login: true })
  const drop = testMaildrop(t, inbox.port, { SMTP_HOST: 'localhost', MAILDROP_TLS: '2', ...LOGIN })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], /stage=tls text=".*certificate/)
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0 }])
  t.strictSame([inbox.messages, tried], [[], []])
})

t.test('TLS 2 against a server that does not offer it: nothing is sent, and no password', async t => {
  const server = await startSmtpScript({ extensions: ['PIPELINING', 'AUTH PLAIN LOGIN'] })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_TLS: '2', ...LOGIN })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], 'stage=tls')
  t.strictSame(
    server.commands.filter(line => /^(AUTH|MAIL)/.test(line)),
    [],
  )
  t.equal((await drop.queue()).length, 1)
})

t.test('TLS 1 encrypts where that is offered, with any certificate, and goes without elsewhere', async t => {
  const { inbox } = await strictServer(t)
  const drop = testMaildrop(t, inbox.port, { MAILDROP_TLS: '1' })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await drop.drained()
  t.match(inbox.messages, [{ secure: true }])

  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const other = testMaildrop(t, server.port, { MAILDROP_TLS: '1' })
  await other.daemon()
  await other.submit(['bob@example.org'])
  await other.drained()
  t.strictSame(server.recipients(), ['bob@example.org'])
  t.match(other.lines('connected')[0], 'protection=plain')
})

t.test('TLS 0 does not encrypt, even where that is offered', async t => {
  const { inbox } = await strictServer(t)
  const drop = testMaildrop(t, inbox.port, { MAILDROP_TLS: '0' })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await drop.drained()
  t.match(inbox.messages, [{ secure: false }])
})

t.test('with a login configured, a server without AUTH gets no mail', async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, LOGIN)
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(
    drop.lines('server-down')[0],
    'stage=login text="the server offers no login (AUTH), but MAILDROP_LOGIN is set"',
  )
  t.strictSame(
    server.commands.filter(line => line.startsWith('MAIL')),
    [],
  )
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0 }])
})

t.test('a refused login defers everything and fails nothing; with the right password mail flows', async t => {
  const { inbox, tried } = await strictServer(t, { login: true })
  const drop = testMaildrop(t, inbox.port, { MAILDROP_TLS: '1', ...LOGIN, MAILDROP_PASSWORD: 'hunter3' })
  const wrong = await drop.daemon()
  for (let i = 0; i < 3; i++) await drop.submit([`r${i}@example.org`])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], /stage=login code=535/)
  t.ok((await drop.queue()).every(({ status, attempts }) => status === 'waiting' && attempts === 0))
  wrong.process.kill('SIGTERM')
  await wrong.ended
  await drop.daemon([], { MAILDROP_PASSWORD: 'hunter2' })
  await drop.drained()
  t.equal(inbox.messages.length, 3)
  t.notMatch(drop.log(), 'hunter')
  t.ok(tried.every(text => text.endsWith('encrypted')))
})
