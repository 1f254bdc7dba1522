/** A server that takes its time: whatever it does meanwhile, every stage ends, and so does the connection. */
import t, { type Test } from 'tap'
import { DEADLINES, type Deadlines } from '../../maildrop/delivery/deadlines.ts'
import { type Event, verdictOf } from '../../maildrop/delivery/outcome.ts'
import { openSession, SessionError } from '../../maildrop/delivery/session.ts'
import type { SmtpConfig, SmtpLogin } from '../../maildrop/smtp-config.ts'
import { MESSAGE } from '../support/maildrop.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, type Step, startSmtpScript, type Transaction } from '../support/smtp-script.ts'
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
  const limits = Object.defineProperties({ ...NEVER }, Object.getOwnPropertyDescriptors(deadlines))
  const event = await attempt(t, smtp, limits, message)
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

/**
 * For every stage a script, the deadline that ends it, from which earlier stage on that is set (a slow machine may need
 * longer for those before), and what is made of it.
 */
const STAGES: Record<
  string,
  {
    script: (step: Step) => SmtpScript
    limit: Partial<Deadlines>
    from?: 'greeting' | 'ehlo' | 'mail'
    expected: Partial<Event>
    verdict: string
  }
> = {
  greeting: {
    script: step => ({ greeting: () => step }),
    limit: { connect: 6000, greeting: 1000 },
    expected: { stage: 'greeting', text: 'no complete greeting within 1 seconds' },
    verdict: 'defer-server',
  },
  EHLO: {
    script: step => ({ ehlo: () => step }),
    limit: { command: 1000 },
    from: 'greeting',
    expected: { stage: 'greeting', text: 'no complete answer to EHLO within 1 seconds' },
    verdict: 'defer-server',
  },
  STARTTLS: {
    script: step => ({ starttls: () => step, extensions: ['STARTTLS'] }),
    limit: { command: 1000 },
    from: 'ehlo',
    expected: { stage: 'tls', text: 'no complete answer to STARTTLS within 1 seconds' },
    verdict: 'defer-server',
  },
  AUTH: {
    script: step => ({ auth: () => step, extensions: ['AUTH PLAIN'], users: { ann: 'hunter2' } }),
    limit: { command: 1000 },
    from: 'ehlo',
    expected: { stage: 'login', text: 'no complete answer to AUTH within 1 seconds' },
    verdict: 'defer-server',
  },
  'all of the opening': {
    script: step => ({ ehlo: () => step }),
    limit: { opening: 3000 },
    expected: { stage: 'greeting', text: 'connecting took more than 3 seconds' },
    verdict: 'defer-server',
  },
  MAIL: {
    script: step => ({ mail: () => step }),
    limit: { command: 1000 },
    from: 'ehlo',
    expected: { stage: 'mail', text: 'no complete answer to MAIL within 1 seconds' },
    verdict: 'defer-message',
  },
  RCPT: {
    script: step => ({ rcpt: to => (to.startsWith('bob') ? step : undefined) }),
    limit: { command: 1000 },
    from: 'mail',
    expected: { stage: 'rcpt', text: 'no complete answer to RCPT within 1 seconds' },
    verdict: 'defer-message',
  },
  'all of the envelope': {
    script: step => ({ rcpt: () => step }),
    limit: { envelope: 3000 },
    expected: { stage: 'rcpt', text: 'the envelope took more than 3 seconds' },
    verdict: 'defer-message',
  },
  DATA: {
    script: step => ({ data: () => step }),
    limit: { data: 1000 },
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

/** The `command` deadlines that are set before the one of the first RCPT: those of EHLO and MAIL. */
const BEFORE_RCPT = 2

/** What a case is run with: the script, and the deadlines, of which `command` is none before the stage `from`. */
function prepare(script: SmtpScript, limit: Partial<Deadlines>, from?: 'greeting' | 'ehlo' | 'mail') {
  let begun = from === undefined
  let commands = 0
  const [rcptIsAwaited, awaitRcpt] = later()
  const [dataIsAwaited, awaitData] = later()
  const limits: Partial<Deadlines> = {
    ...limit,
    get command() {
      commands += 1
      if (commands > BEFORE_RCPT) awaitRcpt()
      return begun ? (limit.command ?? NEVER.command) : NEVER.command
    },
    get data() {
      awaitData()
      return limit.data ?? NEVER.data
    },
  }
  const { rcpt, data } = script
  const begin = (...args: never[]) => {
    begun = true
    return (script[from!] as ((...args: never[]) => Step) | undefined)?.(...args)
  }
  return {
    limits,
    // nodemailer reads no reply as long as one that came with it is not complete: each begins when it is waited for.
    script: {
      ...script,
      ...(from && { [from]: begin }),
      ...(rcpt && { rcpt: (to: string, from: string) => rcptIsAwaited.then(() => rcpt(to, from)) }),
      ...(data && { data: (sent: Transaction) => dataIsAwaited.then(() => data(sent)) }),
    },
  }
}

/** A promise, and what resolves it. */
function later(): [Promise<void>, () => void] {
  let resolve: () => void = () => undefined
  return [new Promise<void>(each => void (resolve = each)), () => resolve()]
}

for (const [stage, { script, limit, from, expected, verdict }] of Object.entries(STAGES)) {
  t.test(`${stage}: no answer in time, whatever comes instead`, async t => {
    const cases = ['PIPELINING', 'X-NONE'].flatMap(offered =>
      Object.entries(SLOW).map(async ([what, step]) => {
        const { script: base, limits } = prepare(script(step), limit, from)
        const event = await end(t, { ...base, extensions: [offered, ...(base.extensions ?? [])] }, limits)
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
  for (const next of ['hang', { heard: { endless: '\x16\x03\x03\x3f\xff', every: 5 } }] as const) {
    let begun = false
    const starttls = () => {
      begun = true
      return { raw: '220 go on\r\n', next }
    }
    const limits = {
      get command() {
        return begun ? 1000 : NEVER.command
      },
    }
    const event = await end(t, { starttls, extensions: ['STARTTLS'] }, limits)
    t.match(event, { stage: 'tls', text: 'no TLS handshake within 1 seconds' })
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
