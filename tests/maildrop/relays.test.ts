/** Relays: further servers, each with a spool, connections and a circuit breaker of its own. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { destinationsOf, loadConfig } from '../../maildrop/config.ts'
import { parseRelay, relayIn, relayText } from '../../maildrop/relays.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { ensureSpool } from '../../maildrop/spool/layout.ts'
import { submit } from '../../maildrop/spool/write.ts'
import { MESSAGE, namesIn, testMaildrop } from '../support/maildrop.ts'
import { freePort } from '../support/ports.ts'
import { program, removeDirectory } from '../support/program.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

/** A maildrop that delivers to a usual server, and to a relay that a file names, so that it can be changed. */
async function place(t: Test, script: SmtpScript = {}) {
  const [usual, news] = [await startSmtpScript(), await startSmtpScript(script)]
  t.teardown(() => Promise.all([usual.close(), news.close()]))
  const directory = mkdtempSync(join(tmpdir(), 'relays-'))
  t.teardown(() => removeDirectory(directory))
  const config = join(directory, 'config')
  const configure = (...ports: number[]) =>
    writeFileSync(config, `MAILDROP_RELAYS="${ports.map(port => `127.0.0.1:${port}`).join(';')}"\n`)
  configure(news.port)
  const drop = testMaildrop(t, usual.port, { MAILDROP_CONFIG: config })
  const spoolOf = (port: number) => relayIn(drop.spool, { host: '127.0.0.1', port }).spool
  const submitTo = async (port: number, to: string) => {
    const id = newMailId()
    const spool = spoolOf(port)
    await ensureSpool(spool)
    await submit(spool, id, formatMailFile({ id, from: 'sender@example.org', to: [to] }, Buffer.from(MESSAGE)))
    return id
  }
  return { usual, news, drop, configure, config, spoolOf, submitTo }
}

t.test('a relay is host, host:port or [IPv6]:port', async t => {
  const right: [string, string][] = [
    ['Mail.Example.org', 'mail.example.org:25'],
    ['mail.example.org:2525', 'mail.example.org:2525'],
    ['127.0.0.1:1', '127.0.0.1:1'],
    ['::1', '[::1]:25'],
    ['[::1]', '[::1]:25'],
    ['[2001:DB8::1]:65535', '[2001:db8::1]:65535'],
  ]
  for (const [text, expected] of right) {
    const relay = parseRelay(text)
    t.equal(relay && relayText(relay), expected, text)
    t.same(parseRelay(expected), relay, 'what is written is read back')
  }
  for (const text of [
    '',
    ':25',
    'a:',
    'a:0',
    'a:65536',
    'a:b',
    'a b',
    '../x',
    'a/b',
    '[mail]:25',
    '[::1',
    '::1:25x',
    '.',
    '..',
    'a;b',
  ])
    t.equal(parseRelay(text), undefined, text)
})

t.test('mail goes to the server whose spool it is in; one that is down delays no other', async t => {
  const { usual, news, drop, configure, submitTo } = await place(t)
  const nowhere = await freePort()
  configure(news.port, nowhere)
  await submitTo(nowhere, 'waits@example.org')
  await drop.daemon()
  await waitFor('the trouble', () => drop.lines('server-down').length > 0)
  await submitTo(news.port, 'news@example.org')
  await drop.submit(['usual@example.org'])
  await waitFor('both', () => usual.messages.length === 1 && news.messages.length === 1)
  t.same([usual.recipients(), news.recipients()], [['usual@example.org'], ['news@example.org']])
  const sent = new RegExp(`to=news@example.org .* relay=127.0.0.1:${news.port} `)
  await waitFor('the log', () => sent.test(drop.lines('sent').join('\n')))
  t.match(drop.lines('server-down'), [`relay=127.0.0.1:${nowhere} `])
  const status = await waitFor('a moment in which the server that is down is not tried', async () => {
    const { stdout } = await program(drop.home, 'maildrop/bin/maildropctl', ['status'], drop.env)
    return stdout.includes('messages  1 waiting') && stdout
  })
  t.match(status, `delivers  to 127.0.0.1:${usual.port}, which is up\n`)
  t.match(status, `delivers  to 127.0.0.1:${nowhere}, which is down for `)
  const late = await startSmtpScript({}, nowhere)
  t.teardown(() => late.close())
  await waitFor('the relay that was down', () => late.recipients().includes('waits@example.org'))
})

t.test('what a relay defers is retried there, what it refuses fails there, and the commands find both', async t => {
  const { news, drop, submitTo, spoolOf } = await place(t, {
    rcpt: to => (to.startsWith('no') ? '550 no' : to.startsWith('later') ? '451 later' : undefined),
  })
  const [no, later] = [await submitTo(news.port, 'no@example.org'), await submitTo(news.port, 'later@example.org')]
  await drop.daemon()
  await waitFor('the refusals', () => drop.lines('fail-recipient').length + drop.lines('defer-recipient').length === 2)
  await waitFor('the files', () => namesIn(spoolOf(news.port), 'failed').includes(no))
  const ctl = (...args: string[]) => program(drop.home, 'maildrop/bin/maildropctl', args, drop.env)
  t.match((await ctl('queue')).stdout, no)
  news.script = {}
  t.equal((await ctl('retry', no)).code, 0)
  t.equal((await ctl('flush')).code, 0)
  await waitFor('both', () => news.messages.length === 2)
  t.same(news.recipients(), ['later@example.org', 'no@example.org'])
  t.ok(later)
})

t.test('after a reload a new relay is served, and one that was taken out is not', async t => {
  const { usual, news, drop, configure, submitTo } = await place(t)
  const other = await startSmtpScript()
  t.teardown(() => other.close())
  const daemon = await drop.daemon()
  await submitTo(news.port, 'one@example.org')
  await waitFor('the first', () => news.messages.length === 1)
  configure(other.port)
  daemon.process.kill('SIGHUP')
  await waitFor('the reload', () => drop.lines('reloaded').length === 1)
  await submitTo(other.port, 'two@example.org')
  const left = await submitTo(news.port, 'three@example.org')
  await drop.submit(['four@example.org'])
  await waitFor('the new relay', () => other.messages.length === 1 && usual.messages.length === 1)
  t.equal(news.messages.length, 1)
  configure(other.port, news.port)
  daemon.process.kill('SIGHUP')
  await waitFor('the mail that was left', () => news.recipients().includes('three@example.org'))
  t.ok(left)
})

t.test('mail of a relay that is not listed any more is a warning, which says what to do', async t => {
  const { news, drop, configure, config, submitTo, spoolOf } = await place(t)
  const env = { MAILDROP_HOME: drop.home }
  await ensureSpool(spoolOf(news.port))
  configure()
  t.same(loadConfig({ file: config, env }).warnings, [])
  const id = await submitTo(news.port, 'left@example.org')
  const [warning, ...more] = loadConfig({ file: config, env }).warnings
  t.same(more, [])
  t.match(
    warning,
    `${spoolOf(news.port)} has mail, but MAILDROP_RELAYS does not name 127.0.0.1:${news.port}: nothing delivers it; add the relay`,
  )
  await drop.daemon()
  await waitFor('the warning', () => drop.lines('warning').length === 1)
  t.same(
    namesIn(spoolOf(news.port)).filter(name => name === id),
    [id],
    'it stays where it is',
  )
})

t.test('a killed daemon has lost nothing of a relay, and the next one takes it back', async t => {
  const { news, drop, submitTo } = await place(t)
  const id = await submitTo(news.port, 'ann@example.org')
  const killed = await drop.daemon(['claimed'])
  await killed.ended
  await drop.daemon()
  await waitFor('the message', () => news.messages.length === 1)
  t.same(news.recipients(), ['ann@example.org'])
  t.ok(id)
})

t.test('no relay is logged in to, and captured mail has no server', async t => {
  const { config } = await place(t)
  const settings = { MAILDROP_LOGIN: 'ann', MAILDROP_PASSWORD: 'secret', MAILDROP_RELAYS: 'a;b' }
  const [usual, ...relays] = destinationsOf(loadConfig({ file: config, env: settings }))
  t.match(usual.smtp, { host: 'localhost', login: { user: 'ann' } })
  t.equal(usual.spools.length, 1)
  t.match(relays, [
    { smtp: { host: 'a', port: 25, login: undefined }, spools: [/\/\.relays\/a:25$/] },
    { smtp: { host: 'b', port: 25, login: undefined }, spools: [/\/\.relays\/b:25$/] },
  ])
  const captured = loadConfig({ file: config, env: { ...settings, MAILDROP_CAPTURE: 'maildir:/tmp/x' } })
  t.equal(destinationsOf(captured).length, 1)
  t.equal(captured.spools.length, 3)
})
