/**
 * What a session makes of a server's faults: every stage of the dialogue against every kind of answer, over a real connection.
 */
import t, { type Test } from 'tap'
import { type Event, verdictOf } from '../../maildrop/delivery/outcome.ts'
import { outgoing } from '../../maildrop/delivery/outgoing.ts'
import { openSession, type Report, type Session, SessionError } from '../../maildrop/delivery/session.ts'
import { MESSAGE } from '../support/maildrop.ts'
import { outgoingOf } from '../support/outgoing.ts'
import { smtpConfigFor } from '../support/smtp-config.ts'
import { type SmtpScript, type Step, startSmtpScript } from '../support/smtp-script.ts'

t.jobs = 4

type Expected = Partial<Event> & { verdict: string }

/** Sends one message to a server that follows the script; what happened, and the session if one was opened. */
async function attempt(
  t: Test,
  script: SmtpScript,
  sent = message(),
): Promise<{ report: Report; session?: Session; received: number }> {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  try {
    const session = await openSession(smtpConfigFor(server.port))
    t.teardown(() => session.abort('the test is over'))
    const to = ['ann@example.org', 'bob@example.org']
    const report = await session.send({ from: 'sender@example.org', to }, sent)
    return { report, session, received: server.messages.length }
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    return { report: { refused: new Map(), end: error.event }, received: server.messages.length }
  }
}

function message() {
  const bytes = Buffer.from(MESSAGE)
  const mail = {
    fd: -1,
    inode: 0,
    written: 0,
    size: bytes.length,
    bytes,
    start: 0,
    id: undefined,
    notBefore: undefined,
    envelope: { from: '', to: [] },
  }
  const out = outgoing(mail, { id: 'x', repeated: false, messageId: undefined, beforeDot: () => undefined })
  if ('problem' in out) throw new Error(out.problem)
  return out
}

/** A script in which one stage takes a step. */
const STAGES: Record<string, (step: Step) => SmtpScript> = {
  greeting: step => ({ greeting: () => step }),
  ehlo: step => ({ ehlo: () => step }),
  mail: step => ({ mail: () => step }),
  rcpt: step => ({ rcpt: () => step }),
  data: step => ({ data: () => step }),
  dot: step => ({ dot: () => step }),
}

const LONG = `${'550-5.7.1 no\n'.repeat(100)}550 5.7.1 no`
const ENORMOUS = `${`550-${'x'.repeat(1000)}\n`.repeat(200)}550 no`

/** For every fault what is made of it at each stage; `server` means that nothing was said about the message. */
const FAULTS: Record<string, { step: Step; at: Record<string, Expected> }> = {
  '421': {
    step: '421 4.3.2 closing',
    at: {
      greeting: { stage: 'greeting', code: 421, verdict: 'defer-server' },
      ehlo: { stage: 'greeting', code: 421, verdict: 'defer-server' },
      mail: { stage: 'mail', code: 421, enhanced: '4.3.2', verdict: 'defer-server' },
      rcpt: { stage: 'rcpt', code: 421, verdict: 'defer-server' },
      data: { stage: 'data', code: 421, verdict: 'defer-server' },
      dot: { stage: 'dot', code: 421, verdict: 'defer-server' },
    },
  },
  'a refusal': {
    step: '550 5.7.1 no',
    at: {
      greeting: { stage: 'greeting', code: 550, verdict: 'defer-server' },
      mail: { stage: 'mail', code: 550, enhanced: '5.7.1', text: 'no', verdict: 'fail-message' },
      rcpt: { stage: 'rcpt', code: 550, verdict: 'fail-recipient' },
      data: { stage: 'data', code: 550, verdict: 'fail-message' },
      dot: { stage: 'dot', code: 550, verdict: 'fail-message' },
    },
  },
  'a deferral': {
    step: '450 4.7.1 later',
    at: {
      greeting: { stage: 'greeting', code: 450, verdict: 'defer-server' },
      mail: { stage: 'mail', code: 450, verdict: 'defer-message' },
      rcpt: { stage: 'rcpt', code: 450, verdict: 'defer-recipient' },
      data: { stage: 'data', code: 450, verdict: 'defer-message' },
      dot: { stage: 'dot', code: 450, verdict: 'defer-message' },
    },
  },
  'a reply of a hundred lines': {
    step: LONG,
    at: {
      mail: { stage: 'mail', code: 550, enhanced: '5.7.1', verdict: 'fail-message' },
      rcpt: { stage: 'rcpt', code: 550, enhanced: '5.7.1', verdict: 'fail-recipient' },
      dot: { stage: 'dot', code: 550, enhanced: '5.7.1', verdict: 'fail-message' },
    },
  },
  'an enormous reply': {
    step: ENORMOUS,
    at: {
      greeting: { code: undefined, verdict: 'defer-server' },
      ehlo: { code: undefined, verdict: 'defer-server' },
      mail: { code: undefined, text: 'Server response exceeds maximum allowed size', verdict: 'defer-message' },
      rcpt: { code: undefined, text: 'Server response exceeds maximum allowed size', verdict: 'defer-message' },
      data: { code: undefined, verdict: 'defer-message' },
      dot: { stage: 'dot', code: undefined, verdict: 'unknown' },
    },
  },
  garbage: {
    step: { raw: '\x00\xff\x16\x03junk\r\n' },
    at: {
      greeting: { stage: 'greeting', code: undefined, verdict: 'defer-server' },
      mail: { stage: 'mail', code: undefined, verdict: 'defer-message' },
      rcpt: { code: undefined, verdict: 'defer-message' },
      data: { stage: 'data', code: undefined, verdict: 'defer-message' },
      dot: { stage: 'dot', code: undefined, verdict: 'unknown' },
    },
  },
  'a reply without a code': {
    step: { raw: 'sure, go on\r\n' },
    at: {
      greeting: { stage: 'greeting', code: undefined, verdict: 'defer-server' },
      mail: { stage: 'mail', code: undefined, verdict: 'defer-message' },
      dot: { stage: 'dot', code: undefined, verdict: 'unknown' },
    },
  },
  'a yes of the wrong kind': {
    step: { raw: '250 as you like\r\n' },
    at: { data: { stage: 'data', code: 250, verdict: 'defer-message' } },
  },
  'a wish for more': {
    step: { raw: '354 go on\r\n' },
    at: {
      mail: { stage: 'mail', code: 354, verdict: 'defer-message' },
      rcpt: { stage: 'rcpt', code: 354, verdict: 'defer-recipient' },
      dot: { stage: 'dot', code: 354, verdict: 'unknown' },
    },
  },
  'a reply of lines that differ': {
    step: { raw: '250-2.0.0 yes\r\n550-5.7.1 or\r\n550 5.7.1 no\r\n' },
    at: {
      mail: { stage: 'mail', code: 550, enhanced: '5.7.1', verdict: 'fail-message' },
      rcpt: { stage: 'rcpt', code: 550, verdict: 'fail-recipient' },
      data: { stage: 'data', code: 550, verdict: 'fail-message' },
      dot: { stage: 'dot', code: 550, verdict: 'fail-message' },
    },
  },
  'a connection that ends': {
    step: 'drop',
    at: {
      greeting: { stage: 'greeting', code: undefined, verdict: 'defer-server' },
      ehlo: { stage: 'greeting', code: undefined, verdict: 'defer-server' },
      mail: { stage: 'mail', code: undefined, verdict: 'defer-message' },
      rcpt: { code: undefined, verdict: 'defer-message' },
      data: { code: undefined, verdict: 'defer-message' },
      dot: { stage: 'dot', code: undefined, verdict: 'unknown' },
    },
  },
  'a connection that is torn': {
    step: 'reset',
    at: {
      greeting: { code: undefined, verdict: 'defer-server' },
      mail: { code: undefined, verdict: 'defer-message' },
      data: { code: undefined, verdict: 'defer-message' },
      dot: { stage: 'dot', code: undefined, verdict: 'unknown' },
    },
  },
  'a reply in trickles': {
    step: { trickle: '550-5.7.1 no\n550 5.7.1 no', every: 2 },
    at: {
      mail: { stage: 'mail', code: 550, enhanced: '5.7.1', verdict: 'fail-message' },
      rcpt: { stage: 'rcpt', code: 550, verdict: 'fail-recipient' },
      data: { stage: 'data', code: 550, verdict: 'fail-message' },
      dot: { stage: 'dot', code: 550, verdict: 'fail-message' },
    },
  },
}

for (const pipelining of [true, false]) {
  const extensions = pipelining ? ['PIPELINING'] : []
  for (const [name, { step, at }] of Object.entries(FAULTS)) {
    t.test(`${name} at each stage, ${pipelining ? 'with' : 'without'} PIPELINING`, async t => {
      for (const [stage, { verdict, ...expected }] of Object.entries(at)) {
        const { report, session, received } = await attempt(t, { ...STAGES[stage]!(step), extensions })
        const about = `at ${stage}: ${JSON.stringify(report.end)}`
        t.match(report.end, expected, about)
        t.equal(verdictOf(report.end), verdict, about)
        t.equal(received, 0)
        if (stage === 'mail') t.equal(report.refused.size, 0, 'nothing is held against a recipient')
        const { code } = report.end
        const settled = code !== undefined && code >= 400 && code !== 421
        if (session !== undefined) t.equal(session.usable, settled, `usable: ${about}`)
      }
    })
  }
}

t.test('a yes to a message that has not been sent yet is none', async t => {
  const early = { raw: '354 go ahead\r\n250 2.0.0 taken\r\n' }
  const large = outgoingOf(t, MESSAGE + 'a line\r\n'.repeat(100_000))
  const { report, session } = await attempt(t, { data: () => early }, large)
  t.match(report.end, { stage: 'body', code: 250 })
  t.equal(verdictOf(report.end), 'defer-message')
  t.notOk(session?.usable)
})

t.test('a session goes on after every kind of refusal, and is in step with the server', async t => {
  const script: SmtpScript = {}
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const session = await openSession(smtpConfigFor(server.port))
  for (const stage of ['mail', 'rcpt', 'data', 'dot']) {
    for (const reply of ['550 5.0.0 no', '450 4.0.0 later']) {
      server.script = STAGES[stage]!(reply)
      const refused = await session.send({ from: 'a@example.org', to: ['b@example.org'] }, message())
      t.match(refused.end, { code: Number(reply.slice(0, 3)) })
      server.script = {}
      const taken = await session.send({ from: `${stage}@example.org`, to: ['b@example.org'] }, message())
      t.match(taken.end, { stage: 'dot', code: 250 }, `after ${reply} at ${stage}`)
    }
  }
  t.equal(server.messages.length, 8)
  t.equal(server.connections, 1)
  session.quit()
  await session.closed
})
