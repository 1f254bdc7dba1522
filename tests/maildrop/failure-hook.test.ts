/** MAILDROP_ON_FAILURE, with commands that work, fail and hang, and daemons that are killed. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { runs } from '../support/launchers.ts'
import { makeDue, namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

interface Told {
  readonly event: string
  readonly id: string
  readonly spool: string
  readonly recipients: { readonly address: string; readonly status: string; readonly code?: number }[]
}

/** A maildrop whose server refuses whoever is called `no…`, and whose hook is a shell script that first runs `before`. */
async function hooked(t: Test, before = '', env: Record<string, string> = {}) {
  const server = await startSmtpScript({ rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined) })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { ...env })
  const script = join(drop.home, 'my hook')
  const change = (lines: string): void =>
    writeFileSync(script, `#!/bin/sh\n${lines}\nenv >"$2/env"\ncat >>"$2/told"\n`, { mode: 0o755 })
  change(before)
  drop.env.MAILDROP_ON_FAILURE = `"${script}" -o '${drop.home}'`
  return { server, drop, change }
}

function told({ home }: TestMaildrop): Told[] {
  const path = join(home, 'told')
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : []
  return lines.map(line => JSON.parse(line) as Told)
}

const untold = ({ spool }: TestMaildrop): string[] => namesIn(spool, '.untold')

t.test('the command is told of what was given up, and of nothing else, once', async t => {
  const { server, drop } = await hooked(t, '', { MAILDROP_LOGIN: 'u', MAILDROP_PASSWORD: 'hunter2' })
  server.script = { ...server.script, extensions: ['AUTH PLAIN'], users: { u: 'hunter2' } }
  const daemon = await drop.daemon()
  const id = await drop.submit(['no@example.org', 'ann@example.org'])
  await drop.submit(['bob@example.org'])
  await drop.drop('broken', '##Nonsense\nx\n')
  await waitFor('both', () => told(drop).length === 2 && untold(drop).length === 0)
  await waitFor('the log', () => drop.lines('hook').length === 2)
  await drop.drained()
  const [refused, broken] = told(drop).sort((a, b) => b.recipients.length - a.recipients.length)
  t.match(refused, {
    event: 'failed',
    version: 1,
    id,
    spool: drop.spool,
    from: 'sender@example.org',
    attempts: 1,
    recipients: [
      {
        address: 'no@example.org',
        status: 'failed',
        code: 550,
        enhanced: '5.1.1',
        text: 'no such user',
        stage: 'rcpt',
      },
      { address: 'ann@example.org', status: 'sent' },
    ],
  })
  t.match(broken, { event: 'failed', name: 'broken', recipients: [], problem: String })
  t.strictSame(
    drop
      .lines('hook')
      .map(line => /id=(\S+)/.exec(line)?.[1])
      .sort(),
    [refused!.id, broken!.id].sort(),
  )
  t.notMatch(readFileSync(join(drop.home, 'env'), 'utf8'), 'hunter2', 'the password is not in its environment')
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
})

t.test('the command is told of a refused recipient at once, though another one is still tried', async t => {
  const { server, drop } = await hooked(t)
  let isLater = true
  const refuse = server.script.rcpt
  server.script = {
    ...server.script,
    rcpt: (to, ...rest) => (isLater && to.startsWith('later') ? '450 later' : refuse?.(to, ...rest)),
  }
  await drop.daemon()
  const id = await drop.submit(['no@example.org', 'later@example.org', 'ann@example.org'])
  await waitFor('the news', () => told(drop).length === 1)
  const statuses = () => told(drop).map(({ event, recipients }) => [event, ...recipients.map(({ status }) => status)])
  t.strictSame(statuses(), [['refused', 'failed', 'waiting', 'sent']])
  await waitFor('it to be deferred', () => namesIn(drop.spool, '.deferred').length === 1)
  makeDue(drop.spool)
  await waitFor('the second attempt', () => drop.lines('defer-recipient').length === 2)
  await waitFor('it to be deferred again', () => namesIn(drop.spool, '.deferred').length === 1)
  isLater = false
  makeDue(drop.spool)
  await waitFor('the end', () => told(drop).length >= 2)
  await drop.drained()
  t.strictSame(statuses().slice(1), [['failed', 'failed', 'sent', 'sent']], 'and at the end, of all')
  t.match(told(drop), [{ id }, { id }])
})

t.test('a command that fails is logged and told again; delivery goes on', async t => {
  const { server, drop, change } = await hooked(t, 'echo first >&2; echo "no database" >&2; exit 3')
  const daemon = await drop.daemon()
  await drop.submit(['no@example.org'])
  await waitFor('the complaint', () => drop.lines('hook-failed').length > 0)
  t.match(drop.lines('hook-failed')[0], /id=\S+ attempt=1 text="\/.*\/my hook failed with exit status 3: no database"/)
  await drop.submit(['ann@example.org'])
  await waitFor('the next mail', () => server.messages.length === 1)
  t.match(untold(drop), [/^[-a-z0-9]+\.1$/])
  daemon.process.kill('SIGTERM')
  await daemon.ended
  change('')
  await drop.daemon()
  await waitFor('the news', () => told(drop).length === 1)
  await waitFor('the end', () => untold(drop).length === 0)
})

t.test('a command that is not there is said, and stops nothing', async t => {
  const { server, drop } = await hooked(t)
  drop.env.MAILDROP_ON_FAILURE = '/nowhere/command'
  await drop.daemon()
  await drop.submit(['no@example.org'])
  await waitFor('the complaint', () => drop.lines('hook-failed').length > 0)
  t.match(drop.lines('hook-failed')[0], '/nowhere/command cannot be run: ENOENT')
  await drop.submit(['ann@example.org'])
  await waitFor('the next mail', () => server.messages.length === 1)
})

t.test('commands that hang are few, hold up neither delivery nor the end, and leave nothing running', async t => {
  const { server, drop, change } = await hooked(t, 'echo $$ >>"$2/pids"; sleep 1000 & wait')
  const daemon = await drop.daemon()
  for (let i = 0; i < 5; i++) await drop.submit([`no${i}@example.org`])
  const pids = (): number[] =>
    existsSync(join(drop.home, 'pids'))
      ? readFileSync(join(drop.home, 'pids'), 'utf8').trim().split('\n').map(Number)
      : []
  await waitFor('two that hang', () => pids().length === 2)
  await drop.submit(['ann@example.org'])
  await waitFor('the next mail', () => server.messages.length === 1)
  await waitFor('all five to be given up', () => untold(drop).length === 5)
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
  t.equal(pids().length, 2, 'no more than two at a time')
  await waitFor('their end', () => pids().every(pid => !runs(pid)))
  t.equal(untold(drop).length, 5)
  change('')
  await drop.daemon()
  await waitFor('all five', () => told(drop).length === 5 && untold(drop).length === 0)
})

for (const step of ['sending', 'state-written', 'failed', 'reason-written']) {
  t.test(`a failure is told although the daemon is killed at "${step}"`, async t => {
    const { drop } = await hooked(t)
    const id = await drop.submit(['no@example.org', 'ann@example.org'])
    t.match(await (await drop.daemon([step])).ended, { end: 'SIGKILL' })
    await drop.daemon()
    await waitFor('the news', () => told(drop).length > 0)
    t.match(told(drop), [{ id, recipients: [{ status: 'failed' }, { status: 'sent' }] }])
    await waitFor('the end', () => untold(drop).length === 0)
  })
}

t.test('a failure is told again when the daemon is killed while it tells', async t => {
  const { drop, change } = await hooked(t, 'touch "$2/began"; exec sleep 5')
  const id = await drop.submit(['no@example.org'])
  const daemon = await drop.daemon()
  await waitFor('the command', () => existsSync(join(drop.home, 'began')))
  daemon.process.kill('SIGKILL')
  await daemon.ended
  t.match(untold(drop), [/~/])
  change('')
  await drop.daemon()
  await waitFor('the news', () => told(drop).length > 0)
  t.match(told(drop), [{ id }])
})

t.test('without the command nothing is kept, and what was kept is warned about', async t => {
  const { drop } = await hooked(t, 'exit 1')
  const first = await drop.daemon()
  await drop.submit(['no@example.org'])
  await waitFor('the complaint', () => drop.lines('hook-failed').length > 0)
  first.process.kill('SIGTERM')
  await first.ended
  const without = { MAILDROP_ON_FAILURE: '' }
  const second = await drop.daemon([], without)
  t.match(drop.lines('warning')[0], /text="nobody was told of these failures, .*" spool=\S+ messages=1|messages=1/)
  second.process.kill('SIGTERM')
  await second.ended
  drop.env.MAILDROP_ON_FAILURE = '/bin/true'
  const third = await drop.daemon()
  await waitFor('the end', () => untold(drop).length === 0)
  third.process.kill('SIGTERM')
  await third.ended
  await drop.daemon([], without)
  t.notOk(existsSync(join(drop.spool, '.untold')))
})
