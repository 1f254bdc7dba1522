/** What systemd is told: by a real `systemd-notify`, read from a socket of the test's own. */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openLog } from '../../maildrop/daemon/log.ts'
import { openSupervisor } from '../../maildrop/daemon/systemd.ts'
import { launchProgram, PROJECT } from '../support/children.ts'
import { testMaildrop } from '../support/maildrop.ts'
import { needs, programProblem } from '../support/peers.ts'
import { removeDirectory } from '../support/program.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

const missing = (...programs: string[]): string | false => {
  const found = programs.find(program => spawnSync(program, ['--version']).error !== undefined)
  return found === undefined ? false : `${found} is not there`
}

const RECEIVER = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
print('bound', flush=True)
while True:
    print(s.recv(65536).decode().strip().replace(chr(10), ' '), flush=True)
`

/** A socket like that of systemd, and the messages that came. */
async function listen(t: Test): Promise<{ socket: string; home: string; messages: () => string[] }> {
  const home = mkdtempSync(join(tmpdir(), 'notify-'))
  t.teardown(() => removeDirectory(home))
  const socket = join(home, 'socket')
  const receiver = launchProgram(t, 'python3', ['-I', '-c', RECEIVER, socket])
  await waitFor('the socket', () => receiver.output().includes('bound'))
  const messages = (): string[] =>
    receiver
      .output()
      .split('\n')
      .slice(1)
      .filter(line => line !== '' && line !== 'BARRIER=1')
  return { socket, home, messages }
}

t.test(
  'systemd is told of the start, of a reload, of signs of life and of the end',
  { skip: missing('systemd-notify', 'python3') },
  async t => {
    const { socket, messages } = await listen(t)
    const server = await startSmtpScript()
    t.teardown(() => server.close())
    const drop = testMaildrop(t, server.port)
    const relay = `127.0.0.1:${server.port}`
    const daemon = await drop.daemon([], { NOTIFY_SOCKET: socket, WATCHDOG_USEC: '3000000' })
    await waitFor('the start', () => messages()[0])
    t.equal(messages()[0], `READY=1 STATUS=delivers to ${relay}; nothing waits`)
    await waitFor('signs of life', () => messages().filter(each => each === 'WATCHDOG=1').length >= 2)
    await server.close()
    await drop.submit(['ann@example.org'])
    await waitFor('the trouble', () => messages().some(each => each.includes(`STATUS=cannot use ${relay}: connect`)))
    daemon.process.kill('SIGHUP')
    await waitFor('the reload', () => messages().includes('RELOADING=1'))
    await waitFor('its end', () => messages().at(-1) !== 'RELOADING=1' && messages().includes('READY=1'))
    daemon.process.kill('SIGTERM')
    t.match(await daemon.ended, { end: 0, stderr: '' })
    await waitFor('the end', () => messages().at(-1) === 'STOPPING=1 STATUS=finishing what has been begun')
    t.strictSame(drop.lines('notify-failed'), [])
  },
)

t.test(
  'a daemon that does not get on gives no sign of life',
  { skip: missing('systemd-notify', 'python3') },
  async t => {
    const { socket, home, messages } = await listen(t)
    const log = openLog({ logFile: join(home, 'log'), logFormat: 'text' }, undefined)
    const supervisor = openSupervisor(log, {
      NOTIFY_SOCKET: socket,
      WATCHDOG_USEC: '600000',
      WATCHDOG_PID: `${process.pid}`,
    })
    t.teardown(() => void supervisor.stopping())
    let turns = 0
    let status = 'first'
    supervisor.ready({ progress: () => turns, status: () => status })
    await waitFor('the start', () => messages().length === 1)
    status = 'second'
    await waitFor('the status', () => messages().includes('STATUS=second'))
    t.notMatch(messages().join(), 'WATCHDOG')
    turns += 1
    await waitFor('a sign of life', () => messages().includes('WATCHDOG=1'))
    status = 'third'
    await waitFor('the status', () => messages().includes('STATUS=third'))
    t.equal(messages().filter(each => each.includes('WATCHDOG=1')).length, 1)
    supervisor.reloading(Promise.resolve())
    await supervisor.stopping()
    await waitFor('the end', () => messages().at(-1) === 'STOPPING=1 STATUS=finishing what has been begun')
    t.ok(messages().includes('RELOADING=1'), 'what was waiting has been told before')
    t.notOk(existsSync(join(home, 'log')))
  },
)

t.test(
  'a watchdog of another process is not served, and a socket that is gone is said once',
  { skip: missing('systemd-notify') },
  async t => {
    const home = mkdtempSync(join(tmpdir(), 'notify-'))
    t.teardown(() => removeDirectory(home))
    const log = openLog({ logFile: join(home, 'log'), logFormat: 'text' }, undefined)
    let turns = 0
    const supervisor = openSupervisor(log, {
      NOTIFY_SOCKET: join(home, 'gone'),
      WATCHDOG_USEC: '30000',
      WATCHDOG_PID: '1',
    })
    supervisor.ready({ progress: () => ++turns, status: () => 'as ever' })
    const lines = (): string[] =>
      existsSync(join(home, 'log')) ? readFileSync(join(home, 'log'), 'utf8').trim().split('\n') : []
    await waitFor('the complaint', () => lines().length > 0)
    supervisor.reloading(Promise.resolve())
    await supervisor.stopping()
    t.match(lines(), [/ notify-failed text="systemd-notify: .*"$/])
    t.equal(turns, 1, 'nobody asks for progress')
  },
)

t.test('without systemd nothing is done', async t => {
  const log = { line: () => t.fail('nothing is logged') } as never
  const supervisor = openSupervisor(log, { WATCHDOG_USEC: '1000' })
  supervisor.ready({ progress: () => 0, status: () => t.fail('nobody asks') as never })
  supervisor.reloading(Promise.reject(new Error('x')).catch(() => undefined))
  await supervisor.stopping()
  t.pass()
})

t.test('systemd finds nothing wrong with the unit', needs(programProblem('systemd-analyze')), async t => {
  const { status, stderr, stdout } = spawnSync(
    'systemd-analyze',
    ['verify', join(PROJECT, 'maildrop', 'maildrop.service')],
    {
      encoding: 'utf8',
    },
  )
  t.equal(`${stdout}${stderr}`, '')
  t.equal(status, 0)
})
