/** A running daemon told what to do: reload, flush and drain, by signal and by `maildropctl`; and its control socket. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askDaemon, controlPath, serveControl } from '../../maildrop/daemon/control-socket.ts'
import { claimPidFile, readPidFile } from '../../maildrop/daemon/pid-file.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { submit } from '../../maildrop/spool/write.ts'
import { failsWith, killDaemon, pidIn, setUp } from '../support/launchers.ts'
import { MESSAGE, namesIn } from '../support/maildrop.ts'
import { freePort } from '../support/ports.ts'
import { removeDirectory } from '../support/program.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

/** A maildrop whose settings are in a file that can be changed while the daemon runs. */
async function configured(t: Test, script: Parameters<typeof setUp>[1] = {}) {
  const drop = await setUp(t, script)
  const file = join(drop.cwd, 'config')
  const configure = (port: number, more: Record<string, string> = {}): void => {
    const settings = { SMTP_HOST: '127.0.0.1', SMTP_PORT: String(port), MAILDROP_TLS: '0', ...more }
    writeFileSync(
      file,
      Object.entries(settings)
        .map(([key, value]) => `${key}="${value}"\n`)
        .join(''),
    )
  }
  configure(drop.server.port)
  const env = { SMTP_HOST: undefined, SMTP_PORT: undefined, MAILDROP_TLS: undefined, MAILDROP_CONFIG: file }
  const log = (): string => readFileSync(drop.logFile, 'utf8')
  return { ...drop, file, configure, log, run: (...args: string[]) => drop.run('maildropctl', args, env) }
}

async function otherServer(t: Test) {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  return server
}

t.test('reload: the next message goes to the new server, the one in transfer is finished at the old', async t => {
  let release: () => void = () => undefined
  const held = new Promise<undefined>(resolve => {
    release = () => resolve(undefined)
  })
  const { server, run, configure, submit, file, log } = await configured(t, { dot: () => held })
  const other = await otherServer(t)
  const pid = pidIn((await run('start')).stdout)
  await submit('ann@example.org')
  await waitFor('the transfer', () => server.commands.includes('DATA'))
  configure(other.port)
  t.match(await run('reload'), { end: 0, stdout: `pid ${pid} goes on with ${file}\n`, stderr: '' })
  await submit('bob@example.org')
  await waitFor('the new server', () => other.recipients().includes('bob@example.org'))
  release()
  await waitFor('the old server', () => log().includes('to=ann@example.org'))
  t.strictSame([server.recipients(), other.recipients()], [['ann@example.org'], ['bob@example.org']])
  t.match(log(), new RegExp(` reloaded pid=${pid} config=${file} relay=127.0.0.1:${other.port}\n`))
})

t.test('reload by SIGHUP does the same, and leaves a line in the log', async t => {
  const { run, configure, submit, log } = await configured(t)
  const other = await otherServer(t)
  const pid = pidIn((await run('start')).stdout)
  configure(other.port)
  process.kill(pid, 'SIGHUP')
  await waitFor('the reload', () => log().includes(' reloaded '))
  await submit('bob@example.org')
  await waitFor('the message', () => other.messages.length === 1)
})

t.test('a bad new configuration is refused, and the daemon goes on as before', async t => {
  const { server, run, configure, submit, file, cwd, log } = await configured(t)
  const pid = pidIn((await run('start')).stdout)
  writeFileSync(join(cwd, 'in-the-way'), '')
  const bad: [() => void, RegExp][] = [
    [() => writeFileSync(file, 'SMTP_PORT="x"\n'), /config:1: SMTP_PORT is "x"; expected a whole number/],
    [() => writeFileSync(file, 'SMTP_PORTT=1\n'), /unknown key SMTP_PORTT; did you mean SMTP_PORT/],
    [() => rmSync(file), /cannot read the configuration file .*ENOENT/],
    [
      () => configure(1, { MAILDROP_SPOOL: join(cwd, 'in-the-way') }),
      /cannot create .*in-the-way: EEXIST; a file stands where/,
    ],
  ]
  for (const [index, [spoil, message]] of bad.entries()) {
    // The command reads the file as well: it is given a good one that means the same daemon.
    const good = join(cwd, 'good')
    writeFileSync(good, '')
    spoil()
    const refused = await run('--config', good, 'reload')
    failsWith(t, refused, 1, /^maildropctl: the daemon keeps its configuration: /)
    t.match(refused.stderr, message)
    await waitFor('the log', () => log().match(/ reload-refused /g)?.length === 2 * index + 1)
    process.kill(pid, 'SIGHUP')
    await waitFor('the log', () => log().match(/ reload-refused /g)?.length === 2 * index + 2)
    await submit(`r${index}@example.org`)
    await waitFor('the message', () => server.messages.length === index + 1)
  }
})

t.test('with a broken configuration the daemon that runs is asked, looked after and stopped', async t => {
  const { server, run, configure, submit, file, pidFile, spool } = await configured(t)
  const other = await configured(t)
  const pid = pidIn((await run('start')).stdout)
  await server.close()
  const id = await submit('ann@example.org')
  const broken = `MAILDROP_VAR="${join(pidFile, '..')}"\nSMTP_PORT="x"\n?\n`
  for (const text of [`SMTP_PORT="x"\n`, broken, undefined]) {
    if (text === undefined) rmSync(file)
    else writeFileSync(file, text)
    const problem = text === undefined ? /ENOENT/ : text === broken ? /config:3: this is not/ : /config:1: SMTP_PORT is/
    const status = await run('status')
    t.match(status, { end: 0, stdout: new RegExp(`^running with pid ${pid}\\n[^]*  spool     ${spool}\\n`) })
    t.match(status.stderr, problem)
    t.match(status.stderr, /^maildropctl: warning: .*; until that is corrected, the daemon goes on as it was, .*\n$/)
  }
  t.match(await run('queue'), { end: 0, stdout: id })
  t.match((await run('log')).stdout, / start pid=/)
  // What begins anew needs all of it.
  for (const command of ['reload', 'restart', 'configtest', 'drain'])
    t.match(await run(command), { end: 1, stderr: /ENOENT/ })
  t.match(await run('hold', id), { end: 0, stdout: '1 message held\n' })

  // A daemon of another configuration is nobody's to stop, nor one that does not say which one it is.
  t.match(await other.run('start'), { end: 0 })
  const theirs = pidIn(readFileSync(other.pidFile, 'utf8').replace(/^/, 'pid '))
  writeFileSync(file, `MAILDROP_PID_FILE="${other.pidFile}"\n?\n`)
  failsWith(
    t,
    await run('stop'),
    1,
    new RegExp(`whether pid ${theirs} .* is its daemon is not sure: it runs with ${other.file}`),
  )
  t.equal(readPidFile(other.pidFile).kind, 'running')

  // One that stands still is not asked: its pid file tells whose it is.
  process.kill(pid, 'SIGSTOP')
  configure(1, { SMTP_HOST: 'no host' })
  failsWith(t, await run('queue'), 1, new RegExp(`; its daemon, pid ${pid} .* cannot be asked: .* no answer after`))
  const stopped = await run('stop')
  t.match(stopped, { end: 0, stdout: `stopped, pid was ${pid}\n`, stderr: /SMTP_HOST is "no host"/ })
  t.equal(readPidFile(pidFile).kind, 'none')
  for (const command of ['stop', 'status']) failsWith(t, await run(command), 1, /SMTP_HOST is "no host"/)
  const checked = await run('configtest', '--json')
  t.match(JSON.parse(checked.stdout), {
    ok: false,
    checks: [{ what: 'config', where: file, ok: false, text: /no host/ }],
  })
})

t.test('spools, log file and log format change with a reload; what cannot change is named', async t => {
  const { server, run, configure, submit, cwd, pidFile, spool, log } = await configured(t)
  await run('start')
  const [second, secondLog] = [join(cwd, 'second'), join(cwd, 'second.log')]
  configure(server.port, {
    MAILDROP_SPOOL: second,
    MAILDROP_LOG_FILE: secondLog,
    MAILDROP_LOG_FORMAT: 'json',
    MAILDROP_PID_FILE: pidFile,
    SUPERVISED_DAEMON: '1',
  })
  t.match(await run('reload'), { end: 0, stdout: /\n {2}unchanged until a restart: SUPERVISED_DAEMON\n$/ })
  const left = await submit('ann@example.org')
  const id = newMailId()
  await submitTo(second, id)
  await waitFor('the message', () => server.messages.length === 1)
  t.strictSame(server.recipients(), ['cid@example.org'])
  t.ok(namesIn(spool).includes(left), 'a spool that is not served any more is left alone')
  await waitFor('the log', () => existsSync(secondLog) && readFileSync(secondLog, 'utf8').includes('"event":"sent"'))
  t.notMatch(log(), id)
  configure(server.port, { MAILDROP_SPOOL: `${second};${spool}` })
  t.match(await run('reload'), { end: 0 })
  await waitFor('the other message', () => server.recipients().includes('ann@example.org'))
})

t.test('reload without a daemon says that there is none', async t => {
  const { run, pidFile } = await configured(t)
  failsWith(t, await run('reload'), 1, new RegExp(`not running \\(${pidFile}\\); start it`))
})

t.test('flush makes deferred messages due at once, by command and by SIGUSR1, with and without a daemon', async t => {
  let answer: string | undefined = '450 later'
  const { server, run, submit, spool, log } = await configured(t, { rcpt: () => answer })
  const pid = pidIn((await run('start')).stdout)
  const deferred = async (to: string): Promise<void> => {
    answer = '450 later'
    const id = await submit(to)
    await waitFor('the deferral', () => namesIn(spool, '.deferred').some(name => name.endsWith(id)))
    answer = undefined
  }
  await deferred('ann@example.org')
  t.match(await run('flush'), { end: 0, stdout: '1 message made due\n', stderr: '' })
  await waitFor('the message', () => server.recipients().includes('ann@example.org'))
  await deferred('bob@example.org')
  process.kill(pid, 'SIGUSR1')
  await waitFor('the message', () => server.recipients().includes('bob@example.org'))
  await waitFor('the log', () => log().includes(` flush pid=${pid} messages=1\n`))
  await deferred('cid@example.org')
  await run('stop')
  t.match(await run('flush'), { end: 0, stdout: '1 message made due; no daemon is running\n' })
  await run('start')
  await waitFor('the message', () => server.recipients().includes('cid@example.org'))
})

t.test('flush tries a server that is down at once', async t => {
  const { configure, run, submit, log } = await configured(t)
  const port = await freePort()
  configure(port)
  await run('start')
  await submit('ann@example.org')
  await waitFor('the alarm', () => log().includes(' server-down '))
  const again = await startSmtpScript({}, port)
  t.teardown(() => again.close())
  t.match(await run('flush'), { end: 0, stdout: '0 messages made due\n' })
  await waitFor('the message', () => again.messages.length === 1)
})

t.test('a message that waits for a connection is not handed out again, however often the spool is read', async t => {
  let greet: () => void = () => undefined
  const greeted = new Promise<undefined>(resolve => {
    greet = () => resolve(undefined)
  })
  const { server, run, submit } = await configured(t, { greeting: () => greeted })
  await run('start')
  await submit('ann@example.org')
  await waitFor('the connection', () => server.connections === 1)
  for (let i = 0; i < 3; i++) await run('flush')
  t.match(JSON.parse((await run('status', '--json')).stdout).daemon, { backlog: 1, connections: { busy: 1 } })
  t.equal(server.connections, 1)
  greet()
  await waitFor('the message', () => server.messages.length === 1)
})

t.test('status tells what the daemon says of itself: a server that is down, and why', async t => {
  const { server, run, submit, log } = await configured(t)
  await run('start')
  t.match(
    (await run('status')).stdout,
    new RegExp(`\\n {2}delivers {2}to 127.0.0.1:${server.port}, which is up\\n {2}busy`),
  )
  await server.close()
  await submit('ann@example.org')
  await waitFor('the alarm', () => log().includes(' server-down '))
  t.match((await run('status')).stdout, /, which is down for \d+s: connect ECONNREFUSED/)
  t.match(
    (await run('queue')).stdout,
    new RegExp(`\\n1 message; 127.0.0.1:${server.port} is down for \\d+s: connect ECONNREFUSED`),
  )
  t.match(JSON.parse((await run('status', '--json')).stdout), {
    running: true,
    daemon: { destination: { state: /down|probing/, reason: /ECONNREFUSED/ }, connections: { open: 0, busy: 0 } },
  })
})

t.test('a daemon whose pid file is elsewhere after a reload is found there, unless that is of another one', async t => {
  const { server, cwd, run, configure, log, pidFile } = await configured(t)
  const pid = pidIn((await run('start')).stdout)
  const [taken, moved] = [join(cwd, 'taken.pid'), join(cwd, 'moved.pid')]
  claimPidFile(taken, 'config')
  configure(server.port, { MAILDROP_PID_FILE: taken })
  process.kill(pid, 'SIGHUP')
  await waitFor('the refusal', () => log().includes(`already running with pid ${process.pid}`))
  t.equal(readPidFile(pidFile).kind, 'running')
  configure(server.port, { MAILDROP_PID_FILE: moved })
  process.kill(pid, 'SIGHUP')
  await waitFor('the answer there', async () => (await run('reload')).end === 0)
  t.match(readPidFile(moved), { kind: 'running', identity: { pid } })
  t.equal(readPidFile(pidFile).kind, 'none')
  t.notOk(existsSync(controlPath(pidFile)))
  t.match(await run('stop'), { end: 0, stdout: `stopped, pid was ${pid}\n` })
  t.equal(readPidFile(moved).kind, 'none')
})

t.test('of a server that can be reached and does not greet, status, queue and the stall alarm say so', async t => {
  const { server, run, submit, log, configure } = await configured(t, { greeting: () => new Promise(() => undefined) })
  configure(server.port, { MAILDROP_STALL_ALARM: '4s' })
  await run('start')
  t.match(JSON.parse((await run('status', '--json')).stdout).daemon.destination, { state: 'up', silence: undefined })
  await submit('ann@example.org')
  await waitFor('the alarm', () => log().includes(' stall '))
  t.match(log(), new RegExp(` stall waiting=1 after=\\d+ text="127.0.0.1:${server.port}: no greeting for \\d+s"`))
  await waitFor('the status', async () =>
    /, which is silent: no greeting for \d+s$/m.test((await run('status')).stdout),
  )
  t.match((await run('queue')).stdout, / is silent: no greeting for \d+s$/m)
  t.match(JSON.parse((await run('status', '--json')).stdout).daemon.destination, {
    state: 'up',
    silence: { text: 'no greeting', seconds: Number },
  })
})

t.test('drain delivers what can be delivered and says whether anything is left, with and without a daemon', async t => {
  for (const daemon of [true, false]) {
    const { server, run, submit, pidFile, spool } = await configured(t, {
      rcpt: to => (to.startsWith('later') ? '450 later' : to.startsWith('no') ? '550 no' : undefined),
    })
    if (daemon) await run('start')
    for (let i = 0; i < 30; i++) await submit(`r${i}@example.org`)
    writeFileSync(join(spool, 'plain'), '##To:ann@example.org\n##From:b@example.org\nSubject: x\n\nHello.\n')
    t.match(await run('drain'), { end: 0, stdout: 'nothing is left to deliver\n', stderr: '' })
    t.equal(server.messages.length, 31)
    writeFileSync(join(spool, 'locked.lck'), '')
    writeFileSync(join(spool, 'locked'), '##To:ann@example.org\n##From:b@example.org\nSubject: x\n\nHello.\n')
    t.match(await run('drain'), { end: 1, stdout: /^1 message left: 1 waiting; / }, 'what is locked is not waited for')
    rmSync(join(spool, 'locked'))
    rmSync(join(spool, 'locked.lck'))
    await submit('no@example.org')
    t.match(await run('drain'), { end: 0, stdout: 'nothing is left to deliver (besides 1 failed)\n' })
    await submit('later@example.org')
    t.match(await run('drain'), {
      end: 1,
      stdout: /^1 message left: 1 deferred \(besides 1 failed\); maildropctl queue/,
    })
    await server.close()
    await submit('ann@example.org')
    t.match(await run('drain'), {
      end: 1,
      stdout: new RegExp(
        `^2 messages left: 1 waiting, 1 deferred .*; 127.0.0.1:${server.port} is down for .*ECONNREFUSED.*; maildropctl configtest says`,
      ),
    })
    t.equal(readPidFile(pidFile).kind, daemon ? 'running' : 'none')
  }
})

t.test('drain waits for no limit that lasts long', async t => {
  for (const daemon of [true, false]) {
    const { server, run, submit, configure } = await configured(t)
    configure(server.port, { MAILDROP_RATE: '2/d' })
    if (daemon) await run('start')
    for (let i = 0; i < 3; i++) await submit(`r${i}@example.org`)
    t.match(await run('drain'), { end: 1, stdout: /^1 message left: 1 waiting; .* MAILDROP_RATE is the reason: 2\/d/ })
    t.match(await run('drain'), { end: 1 }, 'nor the next time')
    t.equal(server.messages.length, 2)
  }
})

t.test('the control socket is private, goes with the daemon, and a stale one is replaced', async t => {
  const { run, pidFile } = await configured(t)
  const path = controlPath(pidFile)
  t.match(await run('start'), { end: 0 })
  t.equal(statSync(path).mode & 0o777, 0o600)
  await killDaemon(pidFile)
  t.ok(existsSync(path), 'a dead daemon leaves it')
  await t.rejects(askDaemon(path, 'status'), { code: 'CONTROL_FAILED' })
  t.match(await run('start'), { end: 0 })
  t.match(await askDaemon(path, 'status'), { destination: { state: 'up' }, connections: { open: 0 } })
  t.match(await run('stop'), { end: 0 })
  t.notOk(existsSync(path))
})

t.test('a file that stands in the way of the socket is left alone, and the daemon delivers without', async t => {
  const { server, run, pidFile, submit, log } = await configured(t)
  mkdirSync(join(pidFile, '..'), { recursive: true })
  writeFileSync(controlPath(pidFile), 'mine')
  await run('start')
  await submit('ann@example.org')
  await waitFor('the message', () => server.messages.length === 1)
  await waitFor('the complaint', () => / control-failed text=".*EADDRINUSE/.test(log()))
  t.equal(readFileSync(controlPath(pidFile), 'utf8'), 'mine')
  failsWith(t, await run('reload'), 1, /the daemon does not answer on .*ENOTSOCK|ECONNREFUSED/)
})

t.test('a path that is too long for a socket works as well', async t => {
  const { cwd } = await configured(t)
  const directory = join(cwd, 'x'.repeat(120), 'y'.repeat(120))
  mkdirSync(directory, { recursive: true })
  const before = process.cwd()
  const path = join(directory, 'maildrop.sock')
  const close = await serveControl(path, async command => ({ asked: command }))
  t.ok(existsSync(path))
  t.strictSame(await askDaemon(path, 'status'), { asked: 'status' })
  t.equal(process.cwd(), before)
  await close()
  t.notOk(existsSync(path))
})

t.test('no client disturbs: rubbish, endless lines, silence, many connections, many requests', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-control-'))
  t.teardown(() => removeDirectory(directory))
  const path = join(directory, 's')
  let asked = 0
  const close = await serveControl(path, async () => {
    asked += 1
    return { fine: true }
  })
  const say = (text: string): Promise<string> =>
    new Promise(resolve => {
      let answer = ''
      const socket = connect(path)
      socket.on('data', chunk => {
        answer += chunk
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(answer))
      socket.end(text)
    })
  for (const rubbish of [
    'x\n',
    '\n',
    '{}\n',
    '{"command":"shutdown"}\n',
    '{"command":"status","more":1}\n',
    '[]\n',
    'null\n',
  ])
    t.match(JSON.parse(await say(rubbish)), { ok: false, code: 'CONTROL_FAILED', message: /^expected \{"command"/ })
  t.equal(asked, 0)
  t.equal(await say('{"command":"status"}'), '', 'half a line is no request')
  t.equal(await say('a'.repeat(1_000_000)), '', 'an endless line is cut off')
  t.equal(await say('{"command":"status"}\n'.repeat(100)), '', 'so is who asks without listening')
  t.equal((await say('{"command":"status"}\n'.repeat(3))).split('\n').length, 4, 'several requests in turn')
  const silent = Array.from({ length: 40 }, () => connect(path).on('error', () => undefined))
  await waitFor('the connections', () => silent.filter(socket => socket.closed || socket.destroyed).length >= 20)
  for (const socket of silent) socket.destroy()
  await waitFor('an answer', () => askDaemon(path, 'status').catch(() => undefined))
  await close()
})

t.test('an answer that is none, or does not come, is an error that says so', async t => {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-control-'))
  t.teardown(() => removeDirectory(directory))
  const answers: [string | undefined, RegExp][] = [
    ['rubbish\n', /not one of a daemon/],
    ['{"ok":true', /closed the connection/],
    ['x'.repeat(2_000_000), /too long/],
    [undefined, /no answer after 0.2 seconds/],
    ['{"ok":false,"code":"NEW_CODE","message":"no"}\n', /^no$/],
  ]
  for (const [index, [answer, message]] of answers.entries()) {
    const path = join(directory, String(index))
    const server = createServer(socket => {
      socket.on('error', () => undefined)
      if (answer !== undefined) socket.end(answer)
    })
    await new Promise<void>(resolve => server.listen(path, resolve))
    await t.rejects(askDaemon(path, 'status', answer === undefined ? 200 : undefined), {
      code: 'CONTROL_FAILED',
      message,
    })
    server.close()
  }
  chmodSync(directory, 0o700)
  await t.rejects(askDaemon(join(directory, 'none'), 'status'), {
    code: 'CONTROL_FAILED',
    message: /ENOENT; see its log/,
  })
})

async function submitTo(spool: string, id: string): Promise<void> {
  const mail = { id, from: 'sender@example.org', to: ['cid@example.org'] }
  await submit(spool, id, formatMailFile(mail, Buffer.from(MESSAGE)))
}
