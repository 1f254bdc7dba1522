/** The numbers for Prometheus and the stall alarm: what a scraper gets from a real daemon, and what that costs. */

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { LogEvent } from '../../maildrop/daemon/log-events.ts'
import { openMeters } from '../../maildrop/daemon/meters.ts'
import { openStall } from '../../maildrop/daemon/stall.ts'
import { census } from '../../maildrop/spool/census.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { failsWith, setUp } from '../support/launchers.ts'
import { namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { freePort } from '../support/ports.ts'
import { removeDirectory } from '../support/program.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

/** The samples of a page: name with labels, and value. */
function samples(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

async function scrape(port: number): Promise<Map<string, number>> {
  const response = await fetch(`http://127.0.0.1:${port}/metrics`)
  t.match(response.headers.get('content-type'), /^text\/plain; version=0\.0\.4/)
  return samples(await response.text())
}

t.test('a scraper sees queue, verdicts, delays, connections and the server, and no address', async t => {
  const server = await startSmtpScript({
    rcpt: to => (to.startsWith('no') ? '550 no' : to.startsWith('later') ? '450 later' : undefined),
  })
  t.teardown(() => server.close())
  const port = await freePort()
  const drop = testMaildrop(t, server.port, { MAILDROP_METRICS: `${port}` })
  const relay = `relay="127.0.0.1:${server.port}"`
  await drop.submit(['ann@example.org', 'no@example.org'])
  await drop.submit(['later@example.org'])
  await drop.submit(['far@example.org'], { notBefore: new Date(Date.now() + 86_400_000) })
  await drop.daemon()
  await waitFor('all verdicts', () => drop.lines('defer-recipient').length + drop.lines('sent').length === 2)
  const found = await waitFor('the end in the spool', async () => {
    const now = await scrape(port)
    return (
      now.get('maildrop_queue_messages{state="failed"}') === 1 &&
      now.get('maildrop_queue_messages{state="deferred"}') === 1 &&
      now.get('maildrop_queue_messages{state="active"}') === 0 &&
      now.get('maildrop_transfer_seconds_count') === 3 &&
      now.get('maildrop_queue_messages{state="scheduled"}') === 1 &&
      now
    )
  })
  const expected = {
    'maildrop_queue_messages{state="waiting"}': 0,
    'maildrop_queue_messages{state="deferred"}': 1,
    'maildrop_queue_messages{state="active"}': 0,
    'maildrop_queue_messages{state="held"}': 0,
    'maildrop_recipients_total{verdict="sent"}': 1,
    'maildrop_recipients_total{verdict="fail-recipient"}': 1,
    'maildrop_recipients_total{verdict="defer-recipient"}': 1,
    maildrop_delay_seconds_count: 1,
    maildrop_transfer_seconds_count: 3,
    'maildrop_connections{state="allowed"}': 5,
    [`maildrop_destination_up{${relay}}`]: 1,
    [`maildrop_destination_down_seconds{${relay}}`]: 0,
    maildrop_stalled_seconds: 0,
    'maildrop_events_total{event="sent"}': 1,
  }
  for (const [name, value] of Object.entries(expected)) t.equal(found.get(name), value, name)
  t.ok(found.get('maildrop_oldest_message_seconds')! > 0)
  t.ok(found.get('maildrop_oldest_message_seconds')! < 600, 'what is scheduled is not old')
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  t.notMatch(text, /example\.org|later/)
  t.equal((await fetch(`http://127.0.0.1:${port}/`)).status, 404)
  t.equal((await fetch(`http://127.0.0.1:${port}/metrics`, { method: 'POST' })).status, 404)

  await server.close()
  await drop.submit(['ann@example.org'])
  await waitFor('the trouble', async () => (await scrape(port)).get(`maildrop_destination_up{${relay}}`) === 0)
})

t.test('a file is kept up to date for collectors of other users, and goes with the daemon', async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port)
  const file = join(drop.home, 'maildrop.prom')
  const daemon = await drop.daemon([], { MAILDROP_METRICS: file })
  await waitFor('the file', () => existsSync(file))
  t.equal(statSync(file).mode & 0o777, 0o644)
  t.match(readFileSync(file, 'utf8'), /^maildrop_queue_messages\{state="waiting"\} 0$/m)
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
  t.strictSame(namesIn(drop.home), ['spool', 'var'])
})

t.test('what is no file of numbers is neither replaced nor removed', async t => {
  const { run, cwd } = await setUp(t)
  writeFileSync(join(cwd, 'notes'), '# mine\n')
  execFileSync('mkfifo', [join(cwd, 'pipe')])
  for (const name of ['notes', 'pipe']) {
    const env = { MAILDROP_METRICS: name }
    t.match(await run('start_maildrop', [], env), { end: 0 })
    const said = async () =>
      (await run('maildropctl', ['status'], env)).stdout.includes(`/${name} is something else than numbers of metrics`)
    await waitFor('the complaint', said)
    t.match(await run('stop_maildrop', [], env), { end: 0 })
  }
  t.equal(readFileSync(join(cwd, 'notes'), 'utf8'), '# mine\n')
  t.ok(statSync(join(cwd, 'pipe')).isFIFO())
  failsWith(t, await run('maildropctl', ['configtest'], { MAILDROP_METRICS: 'pipe' }), 1, /it is a pipe, where a file/)
})

t.test('a port that is taken is said, and stops no mail; a reload finds another one', async t => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.teardown(() => new Promise(resolve => taken.close(resolve)))
  await new Promise(resolve => taken.once('listening', resolve))
  const { run, cwd, logFile, server, submit } = await setUp(t)
  const config = (port: number) => writeFileSync(join(cwd, 'config'), `MAILDROP_METRICS=${port}\n`)
  config((taken.address() as AddressInfo).port)
  t.match(await run('maildropctl', ['--config', 'config', 'start']), { end: 0 })
  await submit('ann@example.org')
  await waitFor('the mail', () => server.messages.length === 1)
  await waitFor('the complaint', () => /metrics-failed text="listen EADDRINUSE/.test(readFileSync(logFile, 'utf8')))
  const status = async () => (await run('maildropctl', ['--config', 'config', 'status'])).stdout
  t.match(await status(), /\n {2}problem {3}the numbers for MAILDROP_METRICS cannot be told: listen EADDRINUSE/)
  const port = await freePort()
  config(port)
  t.match(await run('maildropctl', ['--config', 'config', 'reload']), { end: 0 })
  t.notMatch(await status(), /problem/)
  t.equal((await scrape(port)).get(`maildrop_destination_up{relay="127.0.0.1:${server.port}"}`), 1)
  t.match(await run('maildropctl', ['--config', 'config', 'stop']), { end: 0 })
})

t.test('however often it is asked, a large spool is counted once in a while', async t => {
  const home = mkdtempSync(join(tmpdir(), 'census-'))
  t.teardown(() => removeDirectory(home))
  mkdirSync(join(home, '.deferred'))
  for (let i = 0; i < 3000; i++) writeFileSync(join(home, '.deferred', `1790000000.${newMailId()}`), '')
  let counted = 0
  const meters = openMeters({
    started: new Date(),
    spools() {
      counted += 1
      return [home]
    },
    status: () => undefined,
    stalled: () => 0,
  })
  const pages = await Promise.all(Array.from({ length: 50 }, () => meters.text()))
  t.equal(counted, 1)
  for (const page of pages) t.equal(samples(page).get('maildrop_queue_messages{state="deferred"}'), 3000)
})

t.test('a census tells what is where, and how old the oldest is that is to be sent', async t => {
  const drop = testMaildrop(t, 1)
  t.match(await census([drop.spool]), { counts: { waiting: 0 }, oldest: undefined })
  const before = Date.now()
  await drop.submit(['ann@example.org'])
  await drop.drop('dropped', SAMPLE)
  const now = await census([drop.spool, `${drop.spool}2`])
  t.match(now.counts, { waiting: 2, active: 0, deferred: 0, scheduled: 0, held: 0, failed: 0 })
  t.ok(now.oldest! >= before - 1 && now.oldest! <= Date.now())
})

t.test('the alarm is raised once, when mail is due and nothing moves, and ends when something does', async t => {
  const lines: [LogEvent, unknown][] = []
  let now = 0
  const log = { line: (event: LogEvent, fields: unknown) => void lines.push([event, fields]) } as never
  const stall = openStall(
    () => log,
    () => now,
  )
  const after = (seconds: number, waiting: number): void => {
    now += seconds * 1000
    stall.look(waiting, 60, () => 'connect ECONNREFUSED')
  }
  after(1000, 0)
  after(59, 1)
  t.strictSame(lines, [], 'without mail there is no stall')
  after(1, 2)
  after(100, 2)
  t.strictSame(lines, [['stall', { waiting: 2, after: 60, text: 'connect ECONNREFUSED' }]])
  t.equal(stall.seconds, 160)
  stall.saw('server-down')
  t.equal(stall.seconds, 160, 'trouble is no movement')
  stall.saw('sent')
  t.strictSame(lines.slice(1), [['stall-end', { after: 160 }]])
  t.equal(stall.seconds, 0)
  after(50, 2)
  stall.saw('defer-recipient')
  after(50, 2)
  t.equal(lines.length, 2, 'movement counts, whichever')
  after(10, 2)
  after(1, 0)
  t.strictSame(
    lines.slice(2).map(([event]) => event),
    ['stall', 'stall-end'],
  )
})

t.test('a stall is in the log, in the status and in the numbers until mail moves again', async t => {
  const port = await freePort()
  const { run, submit, logFile } = await setUp(t)
  const smtp = await freePort()
  const env = { MAILDROP_STALL_ALARM: '1s', MAILDROP_METRICS: `${port}`, SMTP_PORT: `${smtp}` }
  t.match(await run('start_maildrop', [], env), { end: 0 })
  await submit('ann@example.org')
  const log = (event: string) =>
    readFileSync(logFile, 'utf8')
      .split('\n')
      .filter(line => line.split(' ')[1] === event)
  await waitFor('the alarm', () => log('stall').length > 0)
  t.match(log('stall')[0], / waiting=1 .*after=\d+|after=\d+ .*waiting=1/)
  t.match(log('stall')[0], 'ECONNREFUSED')
  t.match((await run('maildropctl', ['status'], env)).stdout, /^ {2}stalled {3}nothing has moved for \d+s; due: 1$/m)
  t.ok((await scrape(port)).get('maildrop_stalled_seconds')! > 0)
  t.equal(log('stall').length, 1)
  const back = await startSmtpScript({}, smtp)
  t.teardown(() => back.close())
  await waitFor('the end', () => log('stall-end').length === 1)
  t.equal((await scrape(port)).get('maildrop_stalled_seconds'), 0)
  t.match(await run('stop_maildrop', [], env), { end: 0 })
})
