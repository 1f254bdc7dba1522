/** Several recipients, each with a fate of its own: nobody is forgotten, nobody gets a message twice. */
import t, { type Test } from 'tap'
import { makeDue, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const addresses = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `r${String(i).padStart(3, '0')}@example.org`)

async function setUp(t: Test, script: SmtpScript, env: Record<string, string> = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return { server, drop: testMaildrop(t, server.port, { MAILDROP_INTERVAL: '0.2', ...env }) }
}

t.test('250 recipients are three transactions of one attempt, and each gets it once', async t => {
  const { server, drop } = await setUp(t, {}, { MAILDROP_CONNECTIONS: '1' })
  await drop.daemon()
  await drop.submit(addresses(250))
  await drop.drained()
  t.strictSame(
    server.messages.map(({ to }) => to.length),
    [100, 100, 50],
  )
  t.strictSame(server.recipients(), addresses(250))
  t.equal(server.connections, 1)
  t.ok(drop.lines('sent').every(line => line.includes(' attempt=1 ')))
})

t.test('a server that takes only ten at a time (452) gets them ten at a time', async t => {
  const taken = new Map<object, number>()
  let transaction = {}
  const { server, drop } = await setUp(t, {
    mail: () => void (transaction = {}),
    rcpt() {
      const count = (taken.get(transaction) ?? 0) + 1
      taken.set(transaction, count)
      return count > 10 ? '452 4.5.3 too many recipients' : undefined
    },
  })
  await drop.daemon()
  await drop.submit(addresses(35))
  await drop.drained()
  t.strictSame(
    server.messages.map(({ to }) => to.length),
    [10, 10, 10, 5],
  )
  t.strictSame(server.recipients(), addresses(35))
  t.equal(drop.lines('defer-recipient').length, 25 + 15 + 5)
})

t.test(
  'refused and greylisted ones among many: the others go on at once, the greylisted later, nobody twice',
  async t => {
    let greylisting = true
    const { server, drop } = await setUp(t, {
      rcpt: to =>
        /^r1.0/.test(to)
          ? '550 5.1.1 no such user'
          : /^r..5/.test(to) && greylisting
            ? '450 4.7.1 greylisted'
            : undefined,
    })
    await drop.daemon()
    const id = await drop.submit(addresses(210))
    const deferred = await waitFor('the deferral', async () =>
      (await drop.queue()).find(({ status }) => status === 'deferred'),
    )
    t.match(deferred, { id, attempts: 1 })
    t.equal(server.messages.length, 3)
    const of = (status: string) => deferred.recipients.filter(each => each.status === status).map(each => each.address)
    t.strictSame(
      of('failed'),
      addresses(210).filter(to => /^r1.0/.test(to)),
    )
    t.strictSame(
      of('waiting'),
      addresses(210).filter(to => /^r..5/.test(to)),
    )
    greylisting = false
    makeDue(drop.spool)
    await drop.drained()
    t.strictSame(
      server.recipients(),
      addresses(210).filter(to => !/^r1.0/.test(to)),
    )
    t.match(await drop.queue(), [{ id, status: 'failed', attempts: 2 }])
  },
)

t.test('all refused because they are too many defers them, and does not try without end', async t => {
  const { server, drop } = await setUp(t, { rcpt: () => '452 4.5.3 too many recipients' })
  await drop.daemon()
  await drop.submit(addresses(150))
  await waitFor('the deferral', async () => (await drop.queue()).find(({ status }) => status === 'deferred'))
  t.equal(server.commands.filter(line => line.startsWith('MAIL')).length, 2)
  t.equal(server.commands.filter(line => line.startsWith('RCPT')).length, 150)
})

t.test('a server that closes the connection after every message still gets all at once', async t => {
  const { server, drop } = await setUp(t, { dot: () => ({ raw: '250 2.0.0 taken\r\n421 4.3.2 bye\r\n' }) })
  await drop.daemon()
  await drop.submit(addresses(250))
  await waitFor('the deliveries', () => server.incomplete + server.messages.length >= 3)
  await drop.drained()
  t.strictSame([...new Set(drop.lines('sent').map(line => / to=(\S+)/.exec(line)?.[1]))].sort(), addresses(250))
  t.equal(drop.lines('sent').length, 250)
})

for (const [step, twice] of [
  ['sending', []],
  ['accepted', addresses(200).slice(100)],
] as const) {
  t.test(`killed at "${step}" of the second transaction: the first is not repeated`, async t => {
    const { server, drop } = await setUp(t, {})
    const first = await drop.daemon([step, '2'])
    await drop.submit(addresses(250))
    t.match(await first.ended, { end: 'SIGKILL' })
    t.ok(server.messages.length >= 1)
    await drop.daemon()
    await drop.drained()
    t.strictSame(server.recipients(), [...addresses(250), ...twice].sort())
  })
}

t.test('one refused at RCPT, then 554 to the message: each recipient has its own reason', async t => {
  const { server, drop } = await setUp(t, {
    rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined),
    data: () => '554 5.7.1 nothing from you',
  })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org', 'bob@example.org'])
  const [mail] = await waitFor('the failure', async () => {
    const queue = await drop.queue()
    return queue[0]?.status === 'failed' && queue
  })
  t.match(mail, { id, attempts: 1 })
  t.match(mail?.recipients, [
    {
      address: 'ann@example.org',
      status: 'failed',
      stage: 'data',
      code: 554,
      enhanced: '5.7.1',
      text: 'nothing from you',
    },
    { address: 'no@example.org', status: 'failed', stage: 'rcpt', code: 550, enhanced: '5.1.1', text: 'no such user' },
    { address: 'bob@example.org', status: 'failed', stage: 'data', code: 554 },
  ])
  t.strictSame(server.recipients(), [])
})

t.test('what is older than MAILDROP_MAX_AGE fails with the last reply instead of being deferred', async t => {
  const { drop } = await setUp(t, { rcpt: () => '450 4.7.1 greylisted' }, { MAILDROP_MAX_AGE: '2s' })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org'])
  const [mail] = await waitFor('the failure', async () => {
    makeDue(drop.spool)
    const queue = await drop.queue()
    return queue[0]?.status === 'failed' && queue
  })
  t.match(mail, {
    id,
    recipients: [{ status: 'failed', stage: 'rcpt', code: 450, enhanced: '4.7.1', text: 'greylisted' }],
  })
  t.match(mail?.recipients[0]?.reply, /^too old to be tried again; 450 4\.7\.1 greylisted \(rcpt\)$/)
  t.equal(drop.lines('expired').length, 1)
})
