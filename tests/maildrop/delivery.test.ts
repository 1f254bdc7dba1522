/** Delivery by a running daemon: what is sent, tried again and given up, and what the spool looks like afterwards. */
import { mkdirSync, renameSync, unlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MESSAGE, makeDue, namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { freePort } from '../support/ports.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

async function serverFor(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return server
}

t.test('a submitted message is delivered, logged, and gone from the spool', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  const daemon = await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'bob@example.org'])
  await drop.drained()
  t.match(server.messages, [{ from: 'sender@example.org', to: ['ann@example.org', 'bob@example.org'], data: MESSAGE }])
  t.equal(server.messages.length, 1)
  t.strictSame(namesIn(drop.spool), ['.claim', '.deferred', '.held', '.state', 'failed'])
  await waitFor('the end of the run', () => drop.lines('run-end').length > 0)
  const lines = drop.lines('sent')
  t.equal(lines.length, 2)
  t.match(lines[0], `id=${id} to=ann@example.org`)
  t.match(lines[0], /relay=127\.0\.0\.1:\d+ stage=dot code=250 enhanced=2\.0\.0 text=taken attempt=1 delay=\d/)
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0 })
  t.strictSame(namesIn(drop.spool, '.claim'), [], 'the daemon leaves no claim directory')
})

t.test('the sample file of the original is delivered to both recipients', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  await drop.drop('sample', SAMPLE)
  await waitFor('the message', () => server.messages.length > 0)
  t.match(server.messages, [{ from: 'sender@example.org', to: ['ann@example.org', 'bob@example.org'] }])
  t.equal(server.messages[0]?.data, SAMPLE.split('\n').slice(2).join('\r\n'))
})

t.test('a message published while the daemon waits is picked up within 100 ms', async t => {
  const arrived: number[] = []
  const server = await serverFor(t, { mail: () => void arrived.push(performance.now()) })
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  const delays: number[] = []
  // Of a busy machine some patience is asked.
  for (let i = 0; i < 1000 && !delays.some(ms => ms < 100); i++) {
    await drop.submit(['ann@example.org'])
    const published = performance.now()
    await drop.drained()
    delays.push(arrived[i]! - published)
  }
  t.ok(Math.min(...delays) < 100, `pick-up took ${delays.map(ms => ms.toFixed(0)).join(', ')} ms`)
})

t.test('one of three recipients is refused: two get it once, one is recorded as failed', async t => {
  const server = await serverFor(t, { rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined) })
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org', 'bob@example.org'])
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
  t.equal(drop.lines('fail-recipient').length, 1)
  t.match(drop.lines('fail-recipient')[0], /to=no@example.org .*code=550 enhanced=5\.1\.1 text="no such user"/)
  const [failed] = await drop.queue()
  t.match(failed, { id, status: 'failed', attempts: 1 })
  t.match(failed?.recipients, [
    { address: 'ann@example.org', status: 'sent' },
    { address: 'no@example.org', status: 'failed', reply: '550 5.1.1 no such user (rcpt)' },
    { address: 'bob@example.org', status: 'sent' },
  ])
  await waitFor('the reason', () => namesIn(drop.spool, 'failed').includes(id))
  t.strictSame(namesIn(drop.spool, 'failed'), [id, `${id}.json`], 'the message is kept, with its reason')
  t.strictSame(namesIn(drop.spool, '.state'), [])
})

t.test('550 and 450: only the deferred one is tried again, and the failed one is kept as failed', async t => {
  let greylisted = true
  const server = await serverFor(t, {
    rcpt: to =>
      to.startsWith('no') ? '550 no' : to.startsWith('later') && greylisted ? '450 4.7.1 greylisted' : undefined,
  })
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2' })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org', 'later@example.org'])
  const deferred = await waitFor('the deferral', async () =>
    (await drop.queue()).find(({ status }) => status === 'deferred'),
  )
  t.match(deferred, { id, attempts: 1, recipients: [{ status: 'sent' }, { status: 'failed' }, { status: 'waiting' }] })
  const delay = Date.parse(deferred.next ?? '') - Date.now()
  t.ok(delay > 30_000 && delay < 90_000, `the next attempt is in about a minute: ${delay} ms`)
  greylisted = false
  makeDue(drop.spool)
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'later@example.org'], 'nobody got it twice')
  t.match(await drop.queue(), [{ id, status: 'failed', attempts: 2 }])
})

t.test('one refused at RCPT and DATA answered 554: each recipient has its own reason', async t => {
  const server = await serverFor(t, {
    rcpt: to => (to.startsWith('later') ? '450 4.2.1 later' : undefined),
    dot: () => '554 5.6.0 content refused',
  })
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  await drop.submit(['ann@example.org', 'later@example.org'])
  const mail = await waitFor('the deferral', async () =>
    (await drop.queue()).find(({ status }) => status === 'deferred'),
  )
  t.match(mail.recipients, [
    { status: 'failed', reply: '554 5.6.0 content refused (dot)' },
    { status: 'waiting', reply: '450 4.2.1 later (rcpt)' },
  ])
})

t.test('a message that makes the server hang up delays no other message', async t => {
  const server = await serverFor(t, { mail: from => (from.startsWith('poison') ? 'drop' : undefined) })
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1' })
  await drop.submit(['ann@example.org'], { from: 'poison@example.org' })
  for (let i = 0; i < 20; i++) await drop.submit([`r${i}@example.org`])
  await drop.daemon()
  await waitFor('the others', () => server.messages.length === 20)
  const left = await waitFor('the deferral', async () =>
    (await drop.queue()).find(({ status }) => status === 'deferred'),
  )
  t.match(left, { from: 'poison@example.org', attempts: 1 })
})

t.test('a connection dropped in mid-transfer: the message is deferred, and delivered whole later', async t => {
  let broken = true
  const server = await serverFor(t, { body: bytes => (broken && bytes > 100_000 ? 'drop' : undefined) })
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2' })
  await drop.daemon()
  const body = `Subject: big\r\n\r\n${'0123456789abcdef\r\n'.repeat(200_000)}`
  await drop.submit(['ann@example.org'], { message: body })
  await waitFor(
    'the deferral',
    () => drop.lines('defer-message').length > 0 && namesIn(drop.spool, '.deferred').length > 0,
  )
  t.match(drop.lines('defer-message')[0], 'stage=body')
  broken = false
  makeDue(drop.spool)
  await drop.drained()
  t.equal(server.messages.length, 1)
  t.ok(server.messages[0]?.data === body, 'streamed from the file without change')
})

t.test('a connection dropped after the final dot is unknown, and sent again with the same Message-ID', async t => {
  let first = true
  const server = await serverFor(t, {
    dot() {
      const step = first ? 'drop-after-dot' : undefined
      first = false
      return step
    },
  })
  const drop = testMaildrop(t, server.port, { ADD_MESSAGEID: '1', MAILDROP_INTERVAL: '0.2' })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org'], { message: 'Subject: x\r\n\r\nbody\r\n' })
  await waitFor('the deferral', () => drop.lines('unknown').length > 0 && namesIn(drop.spool, '.deferred').length > 0)
  makeDue(drop.spool)
  await drop.drained()
  t.equal(server.messages.length, 2)
  t.equal(server.messages[0]?.data, server.messages[1]?.data)
  t.match(server.messages[0]?.data, `Message-ID: <${id}@example.org>\r\n`)
})

t.test('421 pauses the server, not the queue: everything arrives within seconds', async t => {
  let closing = 2
  const server = await serverFor(t, { mail: () => (closing-- > 0 ? '421 4.3.2 closing' : undefined) })
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1' })
  for (let i = 0; i < 10; i++) await drop.submit([`r${i}@example.org`])
  await drop.daemon()
  await waitFor('the others', () => server.messages.length >= 8)
  t.equal(drop.lines('server-up').length, 1)
  await waitFor('those two, long before a message is usually tried again', () => server.messages.length === 10)
  t.strictSame(new Set(server.recipients()).size, 10)
  t.equal(drop.lines('defer-server').length, 2)
  await drop.drained()
  t.ok(
    drop.lines('sent').every(line => line.includes('attempt=1')),
    'no attempt was used up',
  )
})

t.test('a server that says the same for ever fills no log', async t => {
  let refused = 0
  const answer = (): string | undefined => (works ? undefined : `421 4.3.2 closing session${++refused}`)
  let works = false
  const server = await serverFor(t, { mail: answer })
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1', MAILDROP_INTERVAL: '0.2' })
  await drop.submit(['ann@example.org'])
  await drop.daemon()
  for (const probes of [1, 2, 3]) {
    await waitFor('a probe', () => {
      makeDue(drop.spool)
      return refused >= probes
    })
  }
  await waitFor('the record', () => namesIn(drop.spool, '.deferred').length === 1)
  for (const event of ['connected', 'run-begin', 'defer-server', 'server-down'] as const)
    t.equal(drop.lines(event).length, 1, event)
  works = true
  await waitFor('the message', () => {
    makeDue(drop.spool)
    return server.messages.length === 1
  })
  await waitFor('the end of the run', () => drop.lines('run-end').length === 2)
  t.equal(drop.lines('run-begin').length, 2)
  t.match(drop.log(), /connected [^\n]*\n[^\n]* run-begin [^\n]*\n[^\n]* sent [^\n]*\n[^\n]* server-up /)
})

t.test('a server that is down costs no attempt, and mail flows within seconds of its return', async t => {
  const port = await freePort()
  const drop = testMaildrop(t, port, { MAILDROP_INTERVAL: '600' })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the alarm', () => drop.lines('server-down').length > 0)
  t.match(drop.lines('server-down')[0], 'ECONNREFUSED')
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0 }])
  const server = await startSmtpScript({}, port)
  t.teardown(() => server.close())
  await waitFor('the message, long before a scan', () => server.messages.length === 1)
  await drop.drained()
  t.equal(server.messages.length, 1)
  t.match(drop.lines('sent')[0], 'attempt=1')
  await waitFor('the all-clear', () => drop.lines('server-up').length === 1)
})

t.test('5xx at MAIL and at the dot fail the message once, 4xx defer it', async t => {
  const server = await serverFor(t, {
    mail: from => (from.startsWith('a') ? '553 5.1.8 sender refused' : undefined),
    dot: ({ from }) => (from.startsWith('b') ? '554 5.7.1 spam' : from.startsWith('c') ? '451 4.3.0 later' : undefined),
  })
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  for (const from of ['a', 'b', 'c', 'd']) await drop.submit(['ann@example.org'], { from: `${from}@example.org` })
  await waitFor(
    'all verdicts',
    () =>
      drop.lines('fail-message').length === 2 &&
      drop.lines('defer-message').length === 1 &&
      drop.lines('sent').length === 1,
  )
  const found = await waitFor('all records', async () => {
    const queue = await drop.queue()
    return queue.length === 3 && queue.every(({ status }) => status !== 'active') && queue
  })
  t.strictSame(found.map(mail => [mail.from, mail.status]).sort(), [
    ['a@example.org', 'failed'],
    ['b@example.org', 'failed'],
    ['c@example.org', 'deferred'],
  ])
})

t.test('the wire: CRLF line ends, stuffed dots, no smuggled end of data, no Bcc', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  const evil =
    'Subject: x\nBcc: secret@example.org,\n other@example.org\nX-A: 1\rBcc: hidden@example.org\n\n.\n..two\r.\rMAIL FROM:<evil@example.org>\n.\r\nend'
  await drop.drop('evil', `##From:\n##To:ann@example.org\n${evil}`)
  await waitFor('the message', () => server.messages.length > 0)
  t.equal(server.messages.length, 1)
  t.equal(
    server.messages[0]?.data,
    'Subject: x\r\nX-A: 1\r\n\r\n.\r\n..two\r\n.\r\nMAIL FROM:<evil@example.org>\r\n.\r\nend\r\n',
  )
  t.match(server.messages[0], { from: '', to: ['ann@example.org'] })
})

t.test('DEBUG_RECEIVER gets everything, the recipients nothing', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port, { DEBUG_RECEIVER: 'debug@example.org' })
  await drop.daemon()
  await drop.submit(['ann@example.org', 'bob@example.org'])
  await drop.drained()
  t.strictSame(server.recipients(), ['debug@example.org'])
})

t.test('MAILDROP_BATCH reconnects, WAIT_INTERVAL waits', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port, { MAILDROP_BATCH: '2', WAIT_INTERVAL: '0.2' })
  for (let i = 0; i < 6; i++) await drop.submit([`r${i}@example.org`])
  const start = performance.now()
  await drop.daemon()
  await drop.drained()
  t.equal(server.messages.length, 6)
  t.equal(server.connections, 3)
  t.ok(performance.now() - start > 1000, 'five waits of 0.2 seconds')
})

t.test('the log can be renamed away at any time', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the end of the run', () => drop.lines('run-end').length > 0)
  renameSync(join(drop.home, 'var', 'maildrop.log'), join(drop.home, 'var', 'maildrop.log.1'))
  await drop.submit(['bob@example.org'])
  await waitFor('a new log', () => drop.lines('run-end').length > 0)
  t.match(drop.lines('sent'), [/to=bob@example.org/])
  t.equal(drop.lines('sent').length, 1)
})

t.test('an unwritable log stops nothing', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  mkdirSync(join(drop.home, 'var', 'maildrop.log'), { recursive: true })
  const daemon = await drop.daemon()
  await drop.submit(['ann@example.org'])
  await drop.drained()
  t.equal(server.messages.length, 1)
  await waitFor('the complaint', () => /^maildrop: cannot write the log .*maildrop\.log: EISDIR/m.test(daemon.output()))
  t.equal(daemon.output().match(/cannot write/g)?.length, 1, 'said once')
})

t.test('when nothing can be written down, mail still flows, and nobody gets a message twice', async t => {
  let greylisting = true
  const server = await serverFor(t, {
    rcpt: to => (to.startsWith('later') && greylisting ? '450 4.7.1 greylisted' : undefined),
  })
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2', MAILDROP_CONNECTIONS: '2' })
  const states = join(drop.spool, '.state')
  await drop.daemon()
  renameSync(states, join(drop.home, 'away'))
  writeFileSync(states, 'in the way')
  for (let i = 0; i < 5; i++) await drop.submit([`later${i}@example.org`])
  await waitFor('deferrals without a state', () => namesIn(drop.spool, '.deferred').length === 5)
  await drop.submit(['ann@example.org', 'later@example.org'])
  await waitFor('the complaint', () => drop.lines('record-failed').length > 0)
  t.match(drop.lines('record-failed')[0], 'a file stands where a directory is needed; move it away')
  for (let i = 0; i < 5; i++) await drop.submit([`bob${i}@example.org`])
  await waitFor('the others', () => server.recipients().filter(to => to.startsWith('bob')).length === 5)
  t.equal(drop.lines('record-failed').length, 1, 'said once')
  unlinkSync(states)
  renameSync(join(drop.home, 'away'), states)
  greylisting = false
  await waitFor('an empty queue', async () => {
    makeDue(drop.spool)
    return (await drop.queue()).length === 0
  })
  const expected = ['ann', 'later', ...[0, 1, 2, 3, 4].flatMap(i => [`bob${i}`, `later${i}`])]
  t.strictSame(server.recipients(), expected.map(name => `${name}@example.org`).sort())
})

t.test('a reply cannot forge a line of the log', async t => {
  const server = await serverFor(t, { rcpt: () => '550 no\u2028\t"such" 2026-01-01 sent id=x' })
  const drop = testMaildrop(t, server.port)
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await waitFor('the verdict', () => drop.lines('fail-recipient').length > 0)
  t.strictSame(drop.lines('sent'), [])
  t.match(drop.lines('fail-recipient')[0], 'text="no')
})

t.test('a sender deferred at MAIL is deferred, whatever the server says to the RCPT sent along with it', async t => {
  let busy = true
  const server = await serverFor(t, { mail: () => (busy ? '451 4.3.2 busy' : undefined) })
  const drop = testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2' })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  const mail = await waitFor('the deferral', async () =>
    (await drop.queue()).find(({ status }) => status === 'deferred'),
  )
  t.match(mail.recipients, [{ status: 'waiting', reply: '451 4.3.2 busy (mail)' }])
  busy = false
  makeDue(drop.spool)
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org'])
})
