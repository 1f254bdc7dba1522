/** The next message's envelope goes out with the message before it (RFC 2920): what each of the two is told, and that nothing is lost or sent twice. */
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { DEADLINES } from '../../maildrop/delivery/deadlines.ts'
import { outgoing } from '../../maildrop/delivery/outgoing.ts'
import { openSession } from '../../maildrop/delivery/session.ts'
import { MESSAGE, namesIn, testMaildrop } from '../support/maildrop.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.jobs = 4

/** The rest of what a daemon takes from the file is of no interest here. */
function message(text = MESSAGE) {
  const bytes = Buffer.from(text)
  const options = { id: 'x', repeated: false, messageId: undefined, beforeDot: () => undefined }
  const out = outgoing({ fd: -1, bytes, start: 0, size: bytes.length }, options)
  if ('problem' in out) throw new Error(out.problem)
  return out
}

const ENVELOPE = (name: string) => ({ from: `${name}@example.org`, to: [`to-${name}@example.org`] })

/** Sends `a`, and `b` whose envelope may go with it. */
async function sendPair(t: Test, script: SmtpScript, text = MESSAGE, deadlines = DEADLINES) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port), { deadlines })
  t.teardown(() => session.abort('the test is over'))
  const first = await session.prepare(ENVELOPE('a'), message(text))
  const second = await session.prepare(ENVELOPE('b'), message(text))
  const one = await first.send(() => second)
  const { begun } = second
  const two = await second.send()
  return { server, session, one, two, begun }
}

const COMMANDS = [/^EHLO/, /^MAIL FROM:<a@/, /^RCPT/, /^DATA/, /^MAIL FROM:<b@/, /^RCPT/, /^DATA/]

for (const [what, text] of Object.entries({
  'of a small message': MESSAGE,
  'of one with dots to be stuffed': 'Subject: dots\r\n\r\n.\r\n..\r\n.x\r\n',
  'of one with other line ends': 'Subject: ends\n\n.one\ntwo',
  'of a large one': `Subject: large\r\n\r\n${'a line\r\n'.repeat(20_000)}`,
})) {
  t.test(`an envelope behind the final dot ${what}`, async t => {
    const { server, one, two, begun } = await sendPair(t, {}, text)
    t.match(
      [one.end, two.end],
      [
        { stage: 'dot', code: 250 },
        { stage: 'dot', code: 250 },
      ],
    )
    t.ok(begun)
    t.match(server.commands, COMMANDS)
    t.strictSame(server.recipients(), ['to-a@example.org', 'to-b@example.org'])
    t.equal(server.messages[0]?.data, server.messages[1]?.data)
    t.strictSame(server.violations, [])
  })
}

t.test('a server without PIPELINING gets one after the other', async t => {
  const { server, two, begun } = await sendPair(t, { extensions: [] })
  t.notOk(begun)
  t.match(two.end, { stage: 'dot', code: 250 })
  t.equal(server.messages.length, 2)
})

t.test('the refusal of the first message is nothing to the second', async t => {
  const { server, one, two } = await sendPair(t, {
    dot: ({ from }) => (from.startsWith('a') ? '554 5.6.0 not this one' : undefined),
  })
  t.match(
    [one.end, two.end],
    [
      { stage: 'dot', code: 554 },
      { stage: 'dot', code: 250 },
    ],
  )
  t.match(server.commands, COMMANDS, 'without a RSET')
})

t.test('nothing is begun behind a message that may need another transaction', async t => {
  const server = await startSmtpScript({ rcpt: to => (to.startsWith('many') ? '452 4.5.3 too many' : undefined) })
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port))
  const first = await session.prepare({ from: '', to: ['ann@example.org', 'many@example.org'] }, message())
  const second = await session.prepare(ENVELOPE('b'), message())
  t.match(await first.send(() => second), { end: { code: 250 } })
  t.notOk(second.begun)
  session.quit()
  await session.closed
})

for (const stage of ['mail', 'rcpt', 'data', 'dot'] as const) {
  t.test(`the second message is refused at ${stage}, and a third goes over the same connection`, async t => {
    let asked = 0
    const { server, session, one, two, begun } = await sendPair(t, {
      [stage]: () => (++asked === 2 ? '550 5.7.1 no' : undefined),
    })
    t.ok(begun)
    t.match(
      [one.end, two.end],
      [
        { stage: 'dot', code: 250 },
        { stage, code: 550 },
      ],
    )
    t.match(await session.send(ENVELOPE('c'), message()), { end: { stage: 'dot', code: 250 } })
    t.strictSame(server.recipients(), ['to-a@example.org', 'to-c@example.org'])
    t.equal(server.connections, 1)
  })
}

for (const [step, first] of [
  ['drop', { stage: 'dot', code: undefined }],
  ['reset', { stage: 'dot', code: undefined }],
  ['421 4.3.2 closing', { stage: 'dot', code: 421 }],
  ['drop-after-dot', { stage: 'dot', code: undefined }],
] as const) {
  t.test(`the server answers the first final dot with ${step}: of the second message nothing was said`, async t => {
    const { server, session, one, two } = await sendPair(t, { dot: () => step })
    t.match(one.end, first)
    t.match(two.end, { stage: 'mail', code: undefined })
    t.notOk(session.usable)
    t.ok(server.messages.every(({ from }) => from === 'a@example.org'))
  })
}

for (const stage of ['mail', 'rcpt', 'data'] as const) {
  t.test(`no answer to the second message's ${stage}: of it nothing was said`, async t => {
    let asked = 0
    const script: SmtpScript = { [stage]: () => (++asked === 2 ? 'hang' : undefined) }
    const { server, session, one, two } = await sendPair(t, script, MESSAGE, { ...DEADLINES, behind: 100 })
    t.match(one.end, { stage: 'dot', code: 250 })
    t.match(two.end, { stage: 'mail', code: undefined, text: /sent behind a message/ })
    t.notOk(session.usable)
    t.strictSame(server.recipients(), ['to-a@example.org'])
  })
}

t.test('the message before a second one may take as long as ever', async t => {
  const script: SmtpScript = { dot: ({ from }) => (from.startsWith('a') ? { after: 3500, say: '250 ok' } : undefined) }
  const { one, two } = await sendPair(t, script, MESSAGE, { ...DEADLINES, behind: 3000 })
  t.match([one.end, two.end], [{ code: 250 }, { code: 250 }])
})

t.test('a message that had begun and is not sent goes to nobody', async t => {
  const server = await startSmtpScript({})
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port))
  const first = await session.prepare(ENVELOPE('a'), message())
  const second = await session.prepare(ENVELOPE('b'), message())
  await first.send(() => second)
  session.quit()
  await session.closed
  await waitFor('the end of the connection', () => server.open === 0)
  t.strictSame(server.recipients(), ['to-a@example.org'])
  t.notOk(server.commands.includes('QUIT'), 'nor is QUIT taken for a line of it')
})

const NAMES = Array.from({ length: 30 }, (_, i) => `r${String(i).padStart(2, '0')}@example.org`)

/** A daemon with NAMES to be served; the final dot of the tenth message is answered when `answer` is called, that of the ninth after `ms`. */
async function heldAtTenth(t: Test, connections: number, ms = 0) {
  let answer = (): void => undefined
  const answered = new Promise<void>(resolve => {
    answer = resolve
  })
  let dots = 0
  const server = await startSmtpScript({
    dot: async () => {
      dots += 1
      const which = dots
      if (which === 9) await sleep(ms)
      if (which === 10) await answered
      return undefined
    },
  })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: String(connections) })
  for (const name of NAMES) await drop.submit([name])
  const daemon = await drop.daemon()
  await waitFor('the tenth final dot', () => dots >= 10)
  return { server, drop, daemon, answer }
}

t.test('a server that takes its time for one message holds up no other', async t => {
  const { server, drop, answer } = await heldAtTenth(t, 2)
  await waitFor('all others', () => server.messages.length === NAMES.length - 1)
  answer()
  await drop.drained()
  t.strictSame(server.recipients(), NAMES)
  t.strictSame(namesIn(drop.spool, '.claim').length, 1, 'the directory of the daemon only')
})

t.test('nor does one that had become slow before', async t => {
  const { server, drop, answer } = await heldAtTenth(t, 1, 150)
  const [owner = ''] = namesIn(drop.spool, '.claim')
  await waitFor('the tenth to be the only one claimed', () => namesIn(drop.spool, '.claim', owner).length === 1)
  answer()
  await drop.drained()
  t.strictSame(server.recipients(), NAMES)
})

t.test('SIGTERM gives back what had begun', async t => {
  const { server, drop, daemon, answer } = await heldAtTenth(t, 1)
  daemon.process.kill('SIGTERM')
  await waitFor('the announcement', () => drop.lines('stopping').length === 1)
  answer()
  t.match(await daemon.ended, { end: 0, stderr: '' })
  t.equal(server.messages.length, 10)
  t.equal((await drop.queue()).length, NAMES.length - 10)
  t.ok((await drop.queue()).every(({ status, attempts }) => status === 'waiting' && attempts === 0))
  t.strictSame(namesIn(drop.spool, '.claim'), [])
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), NAMES)
})

t.test('a server that closes the connection at an envelope behind a message gets them one after the other', async t => {
  let taken = 0
  const server = await startSmtpScript({ mail: () => (++taken % 5 === 0 ? 'drop' : undefined) })
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1' })
  for (const name of NAMES) await drop.submit([name])
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), NAMES)
})
