/** SIGTERM in the middle of a transfer: what is finished, what is given back, and that nobody gets anything twice. */
import t, { type Test } from 'tap'
import type { Child } from '../support/children.ts'
import { namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { type ScriptedServer, type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 2

/** Milliseconds that a message in transfer gets here. */
const SHORT = { TEST_TIMING: JSON.stringify({ grace: 300 }) }
const LARGE = `Subject: large\r\nMessage-ID: <large@example.org>\r\n\r\n${`${'y'.repeat(98)}\r\n`.repeat(80_000)}`

async function setUp(t: Test, script: SmtpScript): Promise<{ server: ScriptedServer; drop: TestMaildrop }> {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return { server, drop: testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1' }) }
}

async function terminate(t: Test, daemon: Child, drop: TestMaildrop): Promise<void> {
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
  t.strictSame(namesIn(drop.spool, '.claim'), [], 'nothing stays claimed')
  t.equal(drop.lines('stop').length, 1)
}

t.test('a message in transfer is finished, and the next one is not begun', async t => {
  let answer = (): void => undefined
  const answered = new Promise<void>(resolve => {
    answer = resolve
  })
  let atDot = false
  const { server, drop } = await setUp(t, {
    async dot() {
      atDot = true
      await answered
      return undefined
    },
  })
  await drop.submit(['ann@example.org'])
  await drop.submit(['bob@example.org'])
  const daemon = await drop.daemon()
  await waitFor('the final dot', () => atDot)
  daemon.process.kill('SIGTERM')
  await waitFor('the announcement', () => drop.lines('stopping').length === 1)
  answer()
  t.match(await daemon.ended, { end: 0, stderr: '' })
  t.strictSame(server.recipients(), ['ann@example.org'])
  t.match(await drop.queue(), [{ status: 'waiting', attempts: 0, recipients: [{ address: 'bob@example.org' }] }])
  t.strictSame(namesIn(drop.spool, '.claim'), [])
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
})

const STAGES: Record<string, SmtpScript> = {
  MAIL: { mail: () => 'hang' },
  RCPT: { rcpt: () => 'hang' },
  DATA: { data: () => 'hang' },
  'the body': { body: bytes => (bytes > 100_000 ? 'stall' : undefined) },
}

for (const [stage, script] of Object.entries(STAGES)) {
  t.test(`a server that hangs at ${stage} is left at the deadline, and the message given back untouched`, async t => {
    let reached = false
    const [[name, decide]] = Object.entries(script) as [[keyof SmtpScript, (...args: never[]) => unknown]]
    const { server, drop } = await setUp(t, {
      [name]: (...args: never[]) => {
        const step = decide(...args)
        reached ||= step !== undefined
        return step
      },
    })
    const id = await drop.submit(['ann@example.org'], { message: LARGE })
    const daemon = await drop.daemon([], SHORT)
    await waitFor('the stage', () => reached)
    await terminate(t, daemon, drop)
    t.match(await drop.queue(), [{ id, status: 'waiting', attempts: 0, recipients: [{ status: 'waiting' }] }])
    t.strictSame(server.messages, [])
    server.script = {}
    await drop.daemon()
    await drop.drained()
    t.strictSame(server.recipients(), ['ann@example.org'])
    t.equal(server.messages[0]?.data.length, LARGE.length, 'whole')
  })
}

t.test('a server that hangs after the final dot may have taken the message: that is written down', async t => {
  let atDot = false
  const { server, drop } = await setUp(t, {
    dot() {
      atDot = true
      return 'hang'
    },
  })
  const id = await drop.submit(['ann@example.org'])
  const daemon = await drop.daemon([], SHORT)
  await waitFor('the final dot', () => atDot)
  await terminate(t, daemon, drop)
  t.match(drop.lines('unknown'), [new RegExp(`id=${id} to=ann@example\\.org .*stage=dot .*daemon was stopped`)])
  t.match(await drop.queue(), [{ id, status: 'deferred', attempts: 1 }])
  t.strictSame(server.messages, [])
})

t.test('a second signal ends it at once, and the next daemon takes back what it had', async t => {
  let reached = false
  const { server, drop } = await setUp(t, {
    mail() {
      reached = true
      return 'hang'
    },
  })
  await drop.submit(['ann@example.org'])
  const daemon = await drop.daemon()
  await waitFor('the transfer', () => reached)
  daemon.process.kill('SIGTERM')
  await waitFor('the announcement', () => drop.lines('stopping').length === 1)
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 1 })
  t.equal(namesIn(drop.spool, '.claim').length, 1)
  server.script = {}
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org'])
  await waitFor('the log', () => drop.lines('taken-back').length === 1)
})
