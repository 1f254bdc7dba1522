/** The log: what a line says, in both formats, that any rotation loses nothing, and that it stops nothing; `maildropctl log`. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { askDaemon, controlPath } from '../../maildrop/daemon/control-socket.ts'
import { openLog } from '../../maildrop/daemon/log.ts'
import { LOG_EVENTS, LOG_FIELDS } from '../../maildrop/daemon/log-events.ts'
import { readLogTail } from '../../maildrop/log-tail.ts'
import { type Child, launchProgram, PROJECT } from '../support/children.ts'
import { testMaildrop } from '../support/maildrop.ts'
import { removeDirectory } from '../support/program.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

function logIn(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), 'maildrop-log-'))
  t.teardown(() => removeDirectory(directory))
  return join(directory, 'maildrop.log')
}

/** The fields of a line of text. */
function fieldsOf(line: string): Record<string, string> {
  const found = line.matchAll(/ ([a-z_]+)=("(?:[^"\\]|\\.)*"|\S+)/g)
  return Object.fromEntries(
    Array.from(found, ([, key, value]) => [key, value!.startsWith('"') ? JSON.parse(value!) : value]),
  )
}

t.test('every recipient and attempt is one line, the same in both formats', async t => {
  const server = await startSmtpScript({
    rcpt: to =>
      to.startsWith('no') ? '550 5.1.1 no such\u001b[31m user' : to.startsWith('later') ? '450 later' : undefined,
    dot: () => '250 2.0.0 taken as 4711',
  })
  t.teardown(() => server.close())
  for (const format of ['text', 'json']) {
    const drop = testMaildrop(t, server.port, { MAILDROP_LOG_FORMAT: format })
    await drop.daemon()
    const message = 'From: s@example.org\r\nMessage-Id:\r\n <folded@example.org>\r\n\r\nHello.\r\n'
    const id = await drop.submit(['ann@example.org', 'no@example.org', 'later@example.org'], { message })
    await waitFor('the run', () => drop.log().includes('run-end'))
    const lines = drop.log().trimEnd().split('\n')
    for (const line of lines) t.match(line, /^[\x20-\x7e]+$/)
    const records = lines.map((line): Record<string, unknown> => {
      if (format === 'json') return JSON.parse(line)
      const [time, event] = line.split(' ')
      return { time, event, ...fieldsOf(line) }
    })
    const about = records.filter(record => record.id === id)
    const common = {
      time: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
      id,
      message_id: '<folded@example.org>',
      from: 'sender@example.org',
      relay: `127.0.0.1:${server.port}`,
    }
    const as = (value: number) => (format === 'json' ? value : String(value))
    t.match(
      about,
      [
        { event: 'sent', to: 'ann@example.org', stage: 'dot', code: as(250), enhanced: '2.0.0', text: 'taken as 4711' },
        { event: 'fail-recipient', to: 'no@example.org', stage: 'rcpt', code: as(550), text: 'no such\u001b[31m user' },
        { event: 'defer-recipient', to: 'later@example.org', stage: 'rcpt', code: as(450), text: 'later' },
      ].map(each => ({ ...common, ...each, attempt: as(1) })),
    )
    for (const { delay, in_spool, connect, transfer } of about) {
      const parts = [in_spool, connect, transfer].map(Number)
      t.ok(parts.every(part => part >= 0))
      const sum = parts.reduce((a, b) => a + b)
      t.ok(Math.abs(Number(delay) - sum) < 0.003, `${delay} is ${parts.join(' + ')}`)
    }
    t.ok(Number(about[0]!.connect) > 0, 'the connection was opened for this message')
    const brackets = records.map(({ event }) => event).filter(event => String(event).startsWith('run-'))
    t.strictSame(brackets, ['run-begin', 'run-end'])
    t.match(
      records.find(({ event }) => event === 'run-end'),
      { sent: as(0), deferred: as(1), failed: as(0) },
    )
    for (const record of records) {
      t.ok(String(record.event) in LOG_EVENTS, String(record.event))
      for (const key of Object.keys(record)) t.ok(['time', 'event'].includes(key) || key in LOG_FIELDS, key)
    }
  }
})

t.test('rotation of any kind in the middle of a run loses no line', async t => {
  const rotations: Record<string, (file: string) => string> = {
    rename: file => {
      renameSync(file, `${file}.1`)
      return `${file}.1`
    },
    'rename and create': file => {
      renameSync(file, `${file}.1`)
      writeFileSync(file, '')
      return `${file}.1`
    },
    'copy and truncate': file => {
      copyFileSync(file, `${file}.1`)
      truncateSync(file)
      return `${file}.1`
    },
    deletion: file => {
      copyFileSync(file, `${file}.1`)
      unlinkSync(file)
      return `${file}.1`
    },
  }
  for (const [name, rotate] of Object.entries(rotations)) {
    const file = logIn(t)
    const log = openLog({ logFile: file, logFormat: 'text' }, undefined)
    log.begin()
    log.line('warning', { text: 'one' })
    const old = rotate(file)
    log.line('warning', { text: 'two' })
    log.line('warning', { text: 'three' })
    log.end()
    t.match(readFileSync(old, 'utf8'), /^\S+ warning text=one\n$/, name)
    t.match(readFileSync(file, 'utf8'), /^\S+ warning text=two\n\S+ warning text=three\n$/, name)
    if (name !== 'rename and create') t.equal(statSync(file).mode & 0o077, 0, name)
  }
})

t.test('no text can forge a line or a field', async t => {
  const file = logIn(t)
  const log = openLog({ logFile: file, logFormat: 'text' }, undefined)
  const text = 'x"\n2026-01-01T00:00:00.000Z sent to=eve@example.org code=250 \u2028 \u009b'
  log.line('server-down', { text })
  log.retarget({ logFile: file, logFormat: 'json' })
  log.line('server-down', { text })
  const [plain = '', json = '', ...rest] = readFileSync(file, 'utf8').split('\n')
  t.strictSame(rest, [''])
  t.strictSame(fieldsOf(plain), { text })
  t.strictSame(JSON.parse(json).text, text)
  t.match(plain + json, /^[\x20-\x7e]+$/)
})

t.test('a log that cannot be written stops no mail, and is written again when it can be', async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const file = logIn(t)
  const directory = join(file, '..', 'in-the-way')
  writeFileSync(directory, '')
  const fifo = `${file}.fifo`
  execFileSync('mkfifo', [fifo])
  for (const unwritable of [join(directory, 'log'), fifo, '/dev/full', join(file, '..')]) {
    const drop = testMaildrop(t, server.port, { MAILDROP_LOG_FILE: unwritable })
    const daemon = await drop.daemon()
    const before = server.messages.length
    await drop.submit(['ann@example.org'])
    await drop.drained()
    t.equal(server.messages.length, before + 1)
    const complaint = /maildrop: cannot write the log .*: E(NOTDIR|EXIST|NXIO|NOSPC|ISDIR)/
    await waitFor('the complaint', () => complaint.test(daemon.output()))
    t.equal(daemon.output().match(/cannot write the log/g)?.length, 1, 'said once')
    const status = () => askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'status')
    t.match(await status(), { problems: [`cannot write the log ${unwritable}`] })
    if (!unwritable.startsWith(directory)) continue
    unlinkSync(directory)
    // The daemon may be faster.
    mkdirSync(directory, { recursive: true })
    await drop.submit(['bob@example.org'])
    await waitFor('the log', () => existsSync(unwritable) && readFileSync(unwritable, 'utf8').includes('to=bob@'))
    t.match(await status(), { problems: [] })
  }
})

t.test('the tail is the last whole lines that fit', async t => {
  const file = logIn(t)
  t.equal(await readLogTail(file, 100), '', 'no log yet')
  writeFileSync(file, 'aaaa\nbbbb\ncccc\n')
  for (const [bytes, expected] of [
    [1, ''],
    [4, ''],
    [5, 'cccc\n'],
    [9, 'cccc\n'],
    [10, 'bbbb\ncccc\n'],
    [14, 'bbbb\ncccc\n'],
    [15, 'aaaa\nbbbb\ncccc\n'],
    [1000, 'aaaa\nbbbb\ncccc\n'],
  ] as const)
    t.equal(await readLogTail(file, bytes), expected, String(bytes))
  appendFileSync(file, 'half a li')
  t.equal(await readLogTail(file, 1000), 'aaaa\nbbbb\ncccc\n')
  await t.rejects(readLogTail(join(file, 'x'), 10), { code: 'SPOOL_FAILED' })
  execFileSync('mkfifo', [`${file}.pipe`])
  for (const other of [`${file}.pipe`, '/dev/zero']) t.equal(await readLogTail(other, 10), '', 'what keeps no lines')
  const directory = join(file, '..')
  await t.rejects(readLogTail(directory, 10), {
    code: 'SPOOL_FAILED',
    path: directory,
    message: /EISDIR.*; a directory/,
  })
})

t.test('maildropctl log prints the last part, and follows through every rotation', async t => {
  const file = logIn(t)
  const begin = (...args: string[]): Child =>
    launchProgram(t, 'env', [
      `MAILDROP_LOG_FILE=${file}`,
      join(PROJECT, 'maildrop', 'bin', 'maildropctl'),
      'log',
      ...args,
    ])
  t.match(await begin().ended, { end: 0, stdout: '', stderr: '' })
  writeFileSync(file, Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join(''))
  const { stdout } = await begin('--bytes', '100').ended
  t.ok(stdout.length <= 100 && stdout.endsWith('line 4999\n') && stdout.startsWith('line '), stdout)
  for (const bad of ['0', '1.5', 'x', '999999999999'])
    t.match(await begin('--bytes', bad).ended, {
      end: 2,
      stdout: '',
      stderr: /^maildropctl: --bytes: expected a whole/,
    })

  const follower = begin('--follow', '--bytes', '20')
  await waitFor('the tail', () => follower.output().includes('line 4999\n'))
  appendFileSync(file, 'added\n')
  await waitFor('what is added', () => follower.output().endsWith('added\n'))
  appendFileSync(file, 'last\n')
  renameSync(file, `${file}.1`)
  appendFileSync(file, 'renamed\n')
  await waitFor('the new file', () => follower.output().endsWith('last\nrenamed\n'))
  unlinkSync(file)
  appendFileSync(file, 'deleted\n')
  await waitFor('the next file', () => follower.output().endsWith('deleted\n'))
  truncateSync(file)
  appendFileSync(file, 'cut\n')
  await waitFor('the file from its start', () => follower.output().endsWith('cut\n'))
  follower.process.kill('SIGINT')
  t.match(await follower.ended, { end: 0, stderr: '' })
})
