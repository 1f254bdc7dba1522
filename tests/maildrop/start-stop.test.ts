/** The launchers in maildrop/bin, as users run them: exit codes, words, and who is running afterwards. */
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { stopDaemon } from '../../maildrop/daemon/control.ts'
import { controlPath } from '../../maildrop/daemon/control-socket.ts'
import { endingOf } from '../../maildrop/daemon/ending.ts'
import { STOP_GRACE } from '../../maildrop/daemon/grace.ts'
import { readPidFile } from '../../maildrop/daemon/pid-file.ts'
import { formatIdentity, ownIdentity } from '../../maildrop/process-identity.ts'
import { launchProgram, PROJECT } from '../support/children.ts'
import { type Environment, failsWith, killDaemon, type Launcher, pidIn, runs, setUp } from '../support/launchers.ts'
import { namesIn, SAMPLE } from '../support/maildrop.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

t.test('start returns when the daemon is ready, stop when it is gone', async t => {
  const { server, run, cwd, home, spool, pidFile, logFile, submit } = await setUp(t)
  const started = await run('start_maildrop')
  t.match(started, { end: 0, stderr: '' })
  const pid = pidIn(started.stdout)
  t.equal(
    started.stdout,
    [
      `maildrop started with pid ${pid}`,
      `  spool   ${spool}`,
      `  log     ${logFile}`,
      `  pid     ${pidFile}`,
      `  config  ${join(PROJECT, 'maildrop', 'config')}`,
      `  server  127.0.0.1:${server.port}`,
      '',
    ].join('\n'),
  )
  t.ok(runs(pid))
  t.match(readFileSync(pidFile, 'utf8'), new RegExp(`^${pid}\\n`))
  t.equal(readlinkSync(`/proc/${pid}/cwd`), '/', 'it keeps no directory busy')
  t.strictSame(namesIn(cwd), ['data'], 'nothing else was made')

  await submit('ann@example.org')
  await waitFor('the message', () => server.messages.length === 1)
  await waitFor('the end of the run', () => readFileSync(logFile, 'utf8').includes(' run-end '))
  const open = readdirSync(`/proc/${pid}/fd`).map(fd => linkOf(`/proc/${pid}/fd/${fd}`))
  t.notOk(open.includes(logFile), 'the log is closed after the run')
  renameSync(logFile, `${logFile}.1`)
  await submit('bob@example.org')
  await waitFor('a new log', () => existsSync(logFile) && readFileSync(logFile, 'utf8').includes('to=bob@example.org'))

  for (const [name, args] of [
    ['start_maildrop', []],
    ['maildropctl', ['start']],
  ] as const)
    failsWith(t, await run(name, args), 1, new RegExp(`: already running with pid ${pid} \\(${pidFile}\\)\\n$`))
  t.ok(runs(pid), 'the first one goes on')

  t.match(await run('stop_maildrop'), { end: 0, stdout: `stopped, pid was ${pid}\n`, stderr: '' })
  t.notOk(runs(pid))
  t.strictSame(namesIn(home, 'var'), ['maildrop.log', 'maildrop.log.1'], 'no pid file is left')
  t.strictSame(namesIn(spool, '.claim'), [])
  for (const [name, args] of [
    ['stop_maildrop', []],
    ['maildropctl', ['stop']],
  ] as const)
    t.match(await run(name, args), { end: 0, stdout: `not running (${pidFile})\n`, stderr: '' })
})

t.test('of several starts at once exactly one starts a daemon', async t => {
  const { run, pidFile } = await setUp(t)
  const all = await Promise.all(Array.from({ length: 4 }, () => run('start_maildrop')))
  const [first, ...others] = all.sort((a, b) => Number(a.end) - Number(b.end))
  t.match(first, { end: 0, stderr: '' })
  const pid = pidIn(first!.stdout)
  for (const other of others) failsWith(t, other, 1, new RegExp(`already running with pid ${pid} `))
  t.match(readPidFile(pidFile), { kind: 'running', identity: { pid } })
})

t.test('a start that fails says why on one line, and leaves nothing running', async t => {
  const { run, cwd, pidFile } = await setUp(t)
  writeFileSync(join(cwd, 'file'), '')
  writeFileSync(join(cwd, 'bad'), 'MAILDROP_INTERVAL="often"\n')
  mkdirSync(join(cwd, 'is-a-directory'))
  writeFileSync(join(cwd, 'large'), 'x'.repeat(40_000))
  const cases: [Environment, RegExp][] = [
    [{ MAILDROP_CONFIG: 'bad' }, /: \/.*\/bad:1: MAILDROP_INTERVAL is "often"; expected a number of seconds/],
    [{ MAILDROP_CONFIG: 'missing' }, /: cannot read the configuration file \/.*\/missing: ENOENT/],
    [{ SMTP_PORT: '0' }, /: environment: SMTP_PORT is "0"/],
    [{ MAILDROP_HOME: 'file/x' }, /file\/x\/.*: ENOTDIR; a file stands where a directory is needed; move it away/],
    [{ MAILDROP_SPOOL: 'file' }, /the daemon did not start: cannot create .*\/file: EEXIST; a file stands where/],
    [{ MAILDROP_HOME: '/proc/nothing' }, /the daemon did not start: cannot create \/proc\/nothing/],
    [{ MAILDROP_VAR: 'file' }, /cannot (read|create) .*\/file(\/maildrop.pid)?: E(NOTDIR|EXIST); a file stands where/],
    [{ MAILDROP_PID_FILE: 'is-a-directory' }, /cannot read .*is-a-directory: EISDIR/],
    [{ MAILDROP_PID_FILE: 'large' }, /large is a file of 40000 bytes, and no pid file; configure another path/],
    [{ MAILDROP_PID_FILE: '/dev/zero' }, /\/dev\/zero is a device, and no pid file; configure another path/],
  ]
  for (const [env, message] of cases) {
    failsWith(t, await run('start_maildrop', [], env), 1, message)
    if (env.MAILDROP_CONFIG === undefined)
      failsWith(
        t,
        await run('start_maildrop', [], { ...env, SUPERVISED_DAEMON: '1' }),
        1,
        new RegExp(message.source.replace('the daemon did not start: ', '')),
      )
  }
  t.equal(readPidFile(pidFile).kind, 'none')
})

t.test('a pid file that a dead daemon left stops no start', async t => {
  const { server, run, pidFile, submit } = await setUp(t)
  await run('start_maildrop')
  const dead = await killDaemon(pidFile)
  t.ok(existsSync(pidFile))
  const status = await run('maildropctl', ['status'])
  t.match(status, { end: 1, stdout: /^not running \(its pid file is stale\)\n/ })
  t.match(await run('stop_maildrop'), { end: 0, stdout: `not running (${pidFile})\n` })
  rmSync(pidFile)
  execFileSync('mkfifo', [pidFile])
  t.match(await run('maildropctl', ['status']), status, 'nor one that is no file')
  const again = await run('start_maildrop')
  t.match(again, { end: 0, stderr: '' })
  t.not(pidIn(again.stdout), dead)
  await submit('ann@example.org')
  await waitFor('the message', () => server.messages.length === 1)
})

t.test('a daemon whose pid file and socket are removed is found again, and stopped', async t => {
  const { run, pidFile } = await setUp(t)
  const pid = pidIn((await run('start_maildrop')).stdout)
  rmSync(dirname(pidFile), { recursive: true })
  await waitFor('the pid file', () => existsSync(pidFile))
  t.match(readPidFile(pidFile), { kind: 'running', identity: { pid } })
  await waitFor('the socket', () => existsSync(controlPath(pidFile)))
  t.match(await run('maildropctl', ['status']), { end: 0, stdout: new RegExp(`^running with pid ${pid}\\n`) })
  rmSync(controlPath(pidFile))
  await waitFor('the socket again', () => existsSync(controlPath(pidFile)))
  t.match(await run('maildropctl', ['flush']), { end: 0, stdout: '0 messages made due\n' })
  t.match(await run('stop_maildrop'), { end: 0, stdout: `stopped, pid was ${pid}\n` })
  t.strictSame(readdirSync(dirname(pidFile)), ['maildrop.log'], 'and it leaves nothing but its log')
})

t.test('a stranger who has got the pid of a pid file is never signalled', async t => {
  const { run, pidFile, home } = await setUp(t)
  const stranger = launchProgram(t, 'sleep', ['600'])
  const texts = {
    'an earlier process of that pid': `${stranger.pid}\n${formatIdentity({ ...ownIdentity(), pid: stranger.pid, start: '1' })}\n`,
    'a process before the last boot': `${stranger.pid}\n${formatIdentity({ ...ownIdentity(), pid: stranger.pid, boot: 'abc' })}\n`,
    'a process of another machine': `${stranger.pid}\n${formatIdentity({ ...ownIdentity(), pid: stranger.pid, boot: 'abc', host: 'elsewhere' })}\n`,
    'a bare pid': `${stranger.pid}\n`,
    'no pid': 'rubbish; rm -rf $HOME\n',
    nothing: '',
  }
  mkdirSync(join(home, 'var'), { recursive: true })
  for (const [what, text] of Object.entries(texts)) {
    writeFileSync(pidFile, text)
    const stopped = await run('stop_maildrop')
    if (what === 'a process of another machine') {
      failsWith(t, stopped, 1, /belongs to pid \d+ on elsewhere, which cannot be seen from here; stop it there/)
      t.match(await run('maildropctl', ['status']), { end: 1, stdout: /^not running here; its pid file belongs to/ })
      t.match(await run('start_maildrop'), { end: 0, stderr: '' }, 'it stops no start')
      await killDaemon(pidFile)
    } else {
      t.match(stopped, { end: 0, stdout: `not running (${pidFile})\n` }, what)
      const restarted = await run('maildropctl', ['restart'])
      t.match(restarted, { end: 0, stderr: '', stdout: /^not running.*\nmaildrop started with pid \d+\n/ }, what)
      await killDaemon(pidFile)
    }
    t.ok(runs(stranger.pid), what)
  }
})

t.test(
  'a daemon of this container is found though its boot looks different, as behind ProtectKernelTunables',
  async t => {
    const { run, pidFile } = await setUp(t)
    const { stdout } = await run('start_maildrop')
    const found = readPidFile(pidFile)
    if (found.kind !== 'running') return t.fail(found.kind)
    writeFileSync(pidFile, `${found.identity.pid}\n${formatIdentity({ ...found.identity, boot: 'abc' })}\n`)
    t.equal(readPidFile(pidFile).kind, 'running')
    t.match(await run('start_maildrop'), { end: 1, stderr: /already running/ })
    t.match(await run('stop_maildrop'), { end: 0, stdout: `stopped, pid was ${pidIn(stdout)}\n` })
  },
)

t.test('stop lets the message in transfer finish, and begins no other', async t => {
  let release: () => void = () => undefined
  const held = new Promise<undefined>(resolve => {
    release = () => resolve(undefined)
  })
  const { server, run, begin, spool, logFile, submit } = await setUp(t, { dot: () => held })
  await run('start_maildrop', [], { MAILDROP_CONNECTIONS: '1' })
  await submit('ann@example.org')
  await waitFor('the final dot', () =>
    namesIn(spool, '.claim').some(owner => namesIn(spool, '.claim', owner).some(name => name.endsWith('.sent1'))),
  )
  const waiting = await submit('bob@example.org')
  const stopping = begin('stop_maildrop')
  await waitFor('the daemon to be told', () => / stopping pid=/.test(readFileSync(logFile, 'utf8')))
  t.equal(await Promise.race([stopping.ended.then(() => 'stopped'), sleep(300, 'still stopping')]), 'still stopping')
  release()
  t.match(await stopping.ended, { end: 0, stdout: /^stopped, pid was \d+\n$/ })
  t.strictSame(server.recipients(), ['ann@example.org'])
  t.strictSame(
    namesIn(spool).filter(name => !name.startsWith('.')),
    ['failed', waiting].sort(),
  )
  await run('start_maildrop')
  await waitFor('the other message', () => server.messages.length === 2)
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'], 'nothing was sent twice')
})

t.test('stop does not wait for a server that never greets', async t => {
  const { run, spool, logFile, submit } = await setUp(t)
  let connections = 0
  const silent = createServer(() => {
    connections += 1
  })
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  t.teardown(() => silent.close())
  const address = silent.address()
  const port = typeof address === 'object' && address ? address.port : 0
  await run('start_maildrop', [], { SMTP_PORT: String(port) })
  const id = await submit('ann@example.org')
  await waitFor('the connection', () => connections > 0)
  t.match(await run('stop_maildrop'), { end: 0 })
  const times = [' stopping ', ' stop '].map(event =>
    Date.parse(
      readFileSync(logFile, 'utf8')
        .split('\n')
        .find(line => line.includes(event))
        ?.split(' ')[0] ?? '',
    ),
  ) as [number, number]
  t.ok(times[1] - times[0] < STOP_GRACE, `${times[1] - times[0]} ms`)
  t.ok(namesIn(spool).includes(id), 'the message waits')
})

t.test('a daemon that cannot say why it does not start is spoken for, on one line', async t => {
  // What is too little for Node itself differs from version to version.
  const cases: [number | null, NodeJS.Signals | null, string, RegExp][] = [
    [
      1,
      null,
      "Error: EMFILE: too many open files, open '/x'\n    at x\n\nNode.js v20\n",
      /too few files; raise the limit \(ulimit -n/,
    ],
    [
      null,
      'SIGABRT',
      '\n<--- Last few GCs --->\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n 1: 0xb7 [node]\n',
      /SIGABRT: it has too little memory; raise/,
    ],
    [
      134,
      null,
      '#\n# Fatal process OOM in Failed to reserve virtual memory for CodeRange\n',
      /134: it has too little memory/,
    ],
    [1, null, "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'zod'\n", /run npm ci$/],
    [null, 'SIGKILL', '', /SIGKILL: somebody killed it, or the system/],
    [1, null, 'node:internal/x:1\n  throw e\nTypeError: no\n    at y\n', /^it ended with 1: TypeError: no$/],
    [7, null, '', /^it ended with 7$/],
  ]
  for (const [code, signal, complaint, said] of cases) {
    const text = endingOf(code, signal, complaint)
    t.match(text, said)
    t.notMatch(text, '\n')
  }
})

t.test('a daemon that hangs is killed, and the next one takes its place', async t => {
  const { run, pidFile } = await setUp(t)
  mkdirSync(dirname(pidFile), { recursive: true })
  const hanging = `
    const { claimPidFile } = await import(${JSON.stringify(join(PROJECT, 'maildrop/daemon/pid-file.ts'))})
    process.on('SIGTERM', () => undefined)
    setInterval(() => undefined, 1000)
    claimPidFile(${JSON.stringify(pidFile)}, '/etc/maildrop/config')`
  const loader = join(PROJECT, 'tests/support/typescript.mjs')
  const args = ['--import', loader, '--input-type=module', '-e', hanging]
  const child = launchProgram(t, process.execPath, args, { cwd: PROJECT })
  await waitFor('its pid file', () => readPidFile(pidFile).kind === 'running')
  t.match(readPidFile(pidFile), { identity: { pid: child.pid }, config: '/etc/maildrop/config' })
  t.strictSame(await stopDaemon({ pidFile }, 1000), { pid: child.pid, killed: true })
  t.match(await child.ended, { end: 'SIGKILL' })
  t.match(await run('start_maildrop'), { end: 0 })
})

t.test('restart replaces the daemon, and starts one where none was', async t => {
  const { server, run, submit } = await setUp(t)
  const first = pidIn((await run('maildropctl', ['restart'])).stdout)
  t.ok(runs(first))
  const again = await run('maildropctl', ['restart'])
  t.match(again, { end: 0, stdout: new RegExp(`^stopped, pid was ${first}\nmaildrop started with pid \\d+\n`) })
  t.notOk(runs(first))
  await submit('ann@example.org')
  await waitFor('the message', () => server.messages.length === 1)
})

t.test('DEBUG=1 stays in the foreground with the log, SUPERVISED_DAEMON=1 silently', async t => {
  for (const [key, signal] of [
    ['DEBUG', 'SIGINT'],
    ['SUPERVISED_DAEMON', 'SIGTERM'],
  ] as const) {
    const { server, begin, run, submit, pidFile, logFile } = await setUp(t)
    const daemon = begin('start_maildrop', [], { [key]: '1' })
    await waitFor('the daemon', () => readPidFile(pidFile).kind === 'running')
    await waitFor('its start', () => existsSync(logFile) && readFileSync(logFile, 'utf8').includes(' start '))
    failsWith(
      t,
      await run('start_maildrop', [], { [key]: '1' }),
      1,
      new RegExp(`already running with pid ${daemon.pid} `),
    )
    await submit('ann@example.org')
    await waitFor('the message', () => server.messages.length === 1)
    await waitFor('the log', () => readFileSync(logFile, 'utf8').includes(' run-end '))
    t.equal(daemon.process.exitCode, null)
    daemon.process.kill(signal)
    const { end, stdout, stderr } = await daemon.ended
    t.strictSame({ end, stderr }, { end: 0, stderr: '' })
    if (key === 'DEBUG') {
      t.match(stdout, `maildrop started with pid ${daemon.pid}\n`)
      t.ok(stdout.endsWith(readFileSync(logFile, 'utf8').split('\n').slice(1).join('\n')), 'it prints what it logs')
    } else t.equal(stdout, '')
    t.equal(readPidFile(pidFile).kind, 'none')
  }
})

t.test('status and queue show the same as a table and as JSON, with and without a daemon', async t => {
  const { server, run, spool, pidFile, submit, home } = await setUp(t, {
    rcpt: to =>
      to.startsWith('no') ? '550 5.1.1 no such\u001b[31m user' : to.startsWith('later') ? '450 later' : undefined,
  })
  t.match(await run('maildropctl', ['queue']), { end: 0, stdout: `the queue is empty (${spool})\n` })
  t.strictSame(JSON.parse((await run('maildropctl', ['queue', '--json'])).stdout), [])
  await run('start_maildrop', [], { MAILDROP_PASSWORD: '' })
  const refused = await submit('no@example.org')
  const deferred = await submit('later@example.org')
  await waitFor(
    'both verdicts',
    () => namesIn(spool, 'failed').length === 2 && namesIn(spool, '.deferred').length === 1,
  )
  const running = await run('maildropctl', ['status', '--json'])
  t.equal(running.end, 0)
  t.match(JSON.parse(running.stdout), {
    running: true,
    pid: pidIn(`pid ${readFileSync(pidFile, 'utf8')}`),
    messages: { waiting: 0, active: 0, deferred: 1, failed: 1 },
    spools: [spool],
    server: { host: '127.0.0.1', port: server.port },
  })
  t.match(
    (await run('maildropctl', ['status'])).stdout,
    /^running with pid \d+\n {2}messages {2}0 waiting, 0 scheduled, 0 active, 1 deferred, 0 held, 1 failed\n/,
  )
  await run('stop_maildrop')
  const waiting = await submit('ann@example.org')
  writeFileSync(join(spool, 'sample'), SAMPLE)
  const list = JSON.parse((await run('maildropctl', ['queue', '--json'])).stdout) as { id: string }[]
  t.match(
    new Map(list.map(mail => [mail.id, mail])),
    new Map<string, object>([
      [refused, { status: 'failed', attempts: 1, from: 'sender@example.org', recipients: [{ status: 'failed' }] }],
      [deferred, { status: 'deferred', attempts: 1, next: /^2\d{3}-/, recipients: [{ address: 'later@example.org' }] }],
      [waiting, { status: 'waiting', attempts: 0, recipients: [{ address: 'ann@example.org', status: 'waiting' }] }],
      ['sample', { status: 'waiting', path: join(spool, 'sample'), recipients: [{}, {}] }],
    ]),
  )
  const table = (await run('maildropctl', ['queue'])).stdout
  for (const id of [refused, deferred, waiting, 'sample']) t.match(table, id)
  t.match(table, /\n4 messages\n$/)
  t.match(table, '450 later')
  t.notMatch(table, '\u001b', 'a reply cannot control the terminal')
  const stopped = await run('maildropctl', ['status', '--json'])
  t.equal(stopped.end, 1)
  t.match(JSON.parse(stopped.stdout), { running: false, messages: { waiting: 2, deferred: 1, failed: 1 } })
  t.ok(existsSync(join(home, 'var')), 'looking changes nothing')
})

t.test('wrong usage exits with 2 and one line, help with 0', async t => {
  const { run, cwd } = await setUp(t)
  const wrong: [Launcher, string[], RegExp][] = [
    ['maildropctl', [], /a command is missing; see maildropctl --help/],
    ['maildropctl', ['begin'], /Unknown argument: begin; see maildropctl --help/],
    ['maildropctl', ['start', 'now'], /Unknown argument: now/],
    ['maildropctl', ['status', '--xml'], /Unknown argument: xml/],
    ['maildropctl', ['start', '--json'], /Unknown argument: json/],
    ['maildropctl', ['status', '--json=maybe'], /--json takes no value/],
    ['maildropctl', ['show'], /an id is missing/],
    ['maildropctl', ['status', '--config'], /Not enough arguments following: config/],
    // Of a variable that is not set; an empty pattern would match every message.
    ['maildropctl', ['delete', '--yes', '--from', ''], /argument 4 \(""\) is empty; is a variable not set\?/],
    ['maildropctl', ['queue', '--to='], /argument 2 \("--to="\) is empty/],
    ['maildropctl', ['--config', ' ', 'status'], /argument 2 \(" "\) is empty/],
    ['stop_maildrop', ['--config', ''], /argument 2 \(""\) is empty/],
    ['maildropctl', ['hold', '--', '-x'], /nothing is taken after --, found "-x"/],
    ['maildropctl', ['queue', '--state.x', 'y'], /Unknown argument: state\.x/],
    ['start_maildrop', ['now'], /no arguments are expected|Unknown argument/],
    ['start_maildrop', ['--foreground'], /Unknown argument: foreground/],
    ['stop_maildrop', ['--force'], /Unknown argument: force/],
  ]
  for (const [name, args, message] of wrong) failsWith(t, await run(name, args), 2, message)
  for (const [name, text] of [
    ['maildropctl', /start .*\n.*stop .*\n.*restart .*\n.*reload .*\n.*status [\s\S]*--config/],
    ['start_maildrop', /returns\s+when it is\s+ready/],
    ['stop_maildrop', /returns\s+when it is\s+gone/],
  ] as const)
    t.match(await run(name, ['--help']), { end: 0, stdout: text, stderr: '' })
  t.match(await run('stop_maildrop', ['--version']), { end: 0, stdout: /^\d+\.\d+\.\d+\n$/ })
  for (const program of ['maildrop/bin/start_maildrop', 'maildrop/bin/maildropctl', 'bin/objtree']) {
    const unheard = launchProgram(t, 'sh', ['-c', '"$0" --help > /dev/full', join(PROJECT, program)], { cwd })
    failsWith(t, await unheard.ended, 1, /: the output cannot be written: ENOSPC/)
  }
  const few = ['-c', 'ulimit -n 30; SUPERVISED_DAEMON=1 exec "$0"', join(PROJECT, 'maildrop/bin/start_maildrop')]
  failsWith(t, await launchProgram(t, 'sh', few, { cwd }).ended, 1, /raise the limit.*ulimit -n/)
  t.strictSame(namesIn(cwd), [], 'nothing was made')
})

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}
