/** A server that takes its time: whatever it does meanwhile, every stage ends, and so does the connection. */
import t, { type Test } from 'tap'
import { DEADLINES, type Deadlines } from '../../maildrop/delivery/deadlines.ts'
import { type Event, verdictOf } from '../../maildrop/delivery/outcome.ts'
import { openSession, SessionError } from '../../maildrop/delivery/session.ts'
import type { SmtpConfig, SmtpLogin } from '../../maildrop/smtp-config.ts'
import { MESSAGE } from '../support/maildrop.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, type Step, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.jobs = 3

/** None of these is reached, unless a test puts something less in its place. */
const NEVER: Deadlines = Object.fromEntries(
  Object.keys(DEADLINES).map(name => [name, name === 'slowest' ? 1 : 100_000_000]),
) as unknown as Deadlines

/** What becomes of one message; the connection has to be closed behind it, which a server sees that still reads. */
async function end(
  t: Test,
  script: SmtpScript,
  deadlines: Partial<Deadlines>,
  message = MESSAGE,
  reads = true,
): Promise<Event> {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const login: SmtpLogin | undefined = script.users && {
    user: 'ann',
    mechanism: 'auto',
    password: { from: 'value', value: 'hunter2' },
  }
  const smtp = smtpConfigFor(server.port, { tls: 'offered', login })
  const event = await attempt(t, smtp, { ...NEVER, ...deadlines }, message)
  if (reads) await waitFor('the end of the connection', () => server.open === 0)
  t.equal(server.messages.length, 0)
  return event
}

async function attempt(t: Test, smtp: SmtpConfig, deadlines: Deadlines, message: string): Promise<Event> {
  try {
    const session = await openSession(smtp, { deadlines })
    const to = ['ann@example.org', 'bob@example.org']
    const report = await session.send({ from: 'sender@example.org', to }, outgoingOf(t, message))
    t.equal(session.usable, false)
    t.equal(report.refused.size, 0)
    return report.end
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    return error.event
  }
}

const SLOW: Record<string, Step> = {
  silence: 'hang',
  'bytes that trickle': { endless: '2', every: 5 },
  'a line that never ends': { endless: '250 still thinking', every: 5 },
  'a reply of lines without end': { endless: '250-more\r\n', every: 5 },
  'empty lines without end': { endless: '\r\n', every: 5 },
  'half a reply, then silence': { raw: '250-half\r\n25', next: 'hang' },
}

/** For every stage a script, the deadline that ends it, and what is made of that. */
const STAGES: Record<
  string,
  { script: (step: Step) => SmtpScript; limit: Partial<Deadlines>; expected: Partial<Event>; verdict: string }
> = {
  greeting: {
    script: step => ({ greeting: () => step }),
    limit: { connect: 1000, greeting: 1000 },
    expected: { stage: 'greeting', text: 'no complete greeting within 1 seconds' },
    verdict: 'defer-server',
  },
  EHLO: {
    script: step => ({ ehlo: () => step }),
    limit: { command: 1000 },
    expected: { stage: 'greeting', text: 'no complete answer to EHLO within 1 seconds' },
    verdict: 'defer-server',
  },
  STARTTLS: {
    script: step => ({ starttls: () => step, extensions: ['STARTTLS'] }),
    limit: { command: 1000 },
    expected: { stage: 'tls', text: 'no complete answer to STARTTLS within 1 seconds' },
    verdict: 'defer-server',
  },
  AUTH: {
    script: step => ({ auth: () => step, extensions: ['AUTH PLAIN'], users: { ann: 'hunter2' } }),
    limit: { command: 1000 },
    expected: { stage: 'login', text: 'no complete answer to AUTH within 1 seconds' },
    verdict: 'defer-server',
  },
  'all of the opening': {
    script: step => ({ ehlo: () => step }),
    limit: { opening: 1000 },
    expected: { stage: 'greeting', text: 'connecting took more than 1 seconds' },
    verdict: 'defer-server',
  },
  MAIL: {
    script: step => ({ mail: () => step }),
    limit: { command: 1000 },
    expected: { stage: 'mail', text: 'no complete answer to MAIL within 1 seconds' },
    verdict: 'defer-message',
  },
  RCPT: {
    script: step => ({ rcpt: to => (to.startsWith('bob') ? step : undefined) }),
    limit: { command: 1000 },
    expected: { stage: 'rcpt', text: 'no complete answer to RCPT within 1 seconds' },
    verdict: 'defer-message',
  },
  'all of the envelope': {
    script: step => ({ rcpt: () => step }),
    limit: { envelope: 1000 },
    expected: { stage: 'rcpt', text: 'the envelope took more than 1 seconds' },
    verdict: 'defer-message',
  },
  DATA: {
    // nodemailer reads no reply as long as one that came with it is not complete, so that one begins later here.
    script: step => ({ data: () => ({ after: 100, say: step }) }),
    limit: { data: 1000, command: 2000 },
    expected: { stage: 'data', text: 'no complete answer to DATA within 1 seconds' },
    verdict: 'defer-message',
  },
  dot: {
    script: step => ({ body: bytes => (bytes > 50 ? step : undefined) }),
    limit: { dot: 1000 },
    expected: { stage: 'dot', text: 'no complete answer to the message within 1 seconds' },
    verdict: 'unknown',
  },
}

for (const [stage, { script, limit, expected, verdict }] of Object.entries(STAGES)) {
  t.test(`${stage}: no answer in time, whatever comes instead`, async t => {
    const cases = ['PIPELINING', 'X-NONE'].flatMap(offered =>
      Object.entries(SLOW).map(async ([what, step]) => {
        const base = script(step)
        const event = await end(t, { ...base, extensions: [offered, ...(base.extensions ?? [])] }, limit)
        t.match(event, expected, `${what}, ${offered}`)
        t.equal(event.code, undefined)
        t.equal(verdictOf(event), verdict)
      }),
    )
    await Promise.all(cases)
  })
}

t.test('no TLS handshake in time', async t => {
  // The beginning of a record of 16 KiB.
  for (const next of ['hang', { endless: '\x16\x03\x03\x3f\xff', every: 5 }] as const) {
    const script: SmtpScript = { starttls: () => ({ raw: '220 go on\r\n', next }), extensions: ['STARTTLS'] }
    const event = await end(t, script, { command: 3000 })
    t.match(event, { stage: 'tls', text: 'no TLS handshake within 3 seconds' })
    t.equal(verdictOf(event), 'defer-server')
  }
})

const LARGE = `${MESSAGE}${`${'x'.repeat(70)}\r\n`.repeat(600_000)}`

t.test('a server that stops reading in the middle of a message', async t => {
  const event = await end(t, { body: () => 'stall' }, { piece: 1000 }, LARGE, false)
  t.match(event, { stage: 'body', text: 'no more of the message was taken within 1 seconds' })
  t.equal(verdictOf(event), 'defer-message')
})

t.test('a server that reads a message too slowly', async t => {
  const event = await end(t, { body: () => ({ sip: 50 }) }, { piece: 3000, slowest: 1_000_000_000 }, LARGE)
  t.match(event, { stage: 'body', text: 'the transfer of the message took more than 3' })
})

t.test('a server that is slow at every stage, but not too slow, gets the message', async t => {
  const slow = (say: Step): Step => ({ after: 60, say })
  const server = await startSmtpScript({
    greeting: () => slow('220 hello'),
    ehlo: () => slow('250-script\n250 PIPELINING'),
    mail: () => slow('250 ok'),
    rcpt: () => slow('250 ok'),
    data: () => slow('354 go'),
    dot: () => slow('250 taken'),
  })
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port), { deadlines: DEADLINES })
  for (let i = 0; i < 2; i++) {
    const report = await session.send({ from: '', to: ['a@example.org', 'b@example.org'] }, outgoingOf(t, MESSAGE))
    t.match(report.end, { stage: 'dot', code: 250 })
  }
  session.quit()
  await session.closed
  t.equal(server.messages.length, 2)
})
