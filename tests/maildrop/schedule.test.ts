/** Mail that waits for a time: the one its writer chose, the one of its next attempt; and clocks that are wrong by a day. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { findMail } from '../../maildrop/spool/listing.ts'
import { flushSpool, operate } from '../../maildrop/spool/operations.ts'
import { wrongClock } from '../support/clock.ts'
import { namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const DAY = 24 * 3_600_000

async function setUp(t: Test, script: SmtpScript = {}, env: Record<string, string> = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, env)
  return { server, drop }
}

t.test('mail is sent at the time that its writer chose, and others meanwhile', async t => {
  const times: number[] = []
  const { drop, server } = await setUp(t, { dot: () => void times.push(Date.now()) })
  await drop.daemon()
  const time = Date.now() + 4000
  await drop.submit(['ann@example.org'], { notBefore: new Date(time) })
  await drop.drop('mail', SAMPLE.replace('##To', `##Not-Before:${Math.ceil(time / 1000)}\n##To`))
  await drop.submit(['carl@example.org'])
  await waitFor('the message that need not wait', () => server.messages.length === 1)
  const places = await waitFor('the places of the others', () => {
    const names = namesIn(drop.spool, '.deferred')
    return (names.length === 2 || Date.now() >= time) && names
  })
  t.ok(places.every(name => /^\d+@/.test(name)))
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'ann@example.org', 'bob@example.org', 'carl@example.org'])
  t.ok(times.slice(1).every(at => at >= time))
})

t.test('scheduled mail is listed with its time, seen by a daemon or not, survives restarts and a flush', async t => {
  const { drop, server } = await setUp(t)
  const notBefore = new Date(Math.ceil(Date.now() / 1000 + 3600) * 1000)
  const id = await drop.submit(['ann@example.org'], { notBefore })
  const expected = [{ id, status: 'scheduled', next: notBefore.toISOString(), attempts: 0 }]
  t.match(await drop.queue(), expected)
  for (let i = 0; i < 2; i++) {
    const daemon = await drop.daemon()
    await waitFor('its place', () => namesIn(drop.spool, '.deferred').length === 1)
    t.match(await drop.queue(), expected)
    t.equal(await flushSpool(drop.spool), 0)
    daemon.process.kill('SIGTERM')
    await daemon.ended
  }
  await drop.daemon()
  await operate('hold', await findMail([drop.spool], id))
  await operate('release', await findMail([drop.spool], id))
  await waitFor('its place', () => namesIn(drop.spool, '.deferred').length === 1)
  t.match(await drop.queue(), expected)
  await operate('retry', await findMail([drop.spool], id))
  await drop.drained()
  t.equal(server.messages.length, 1, 'who asks for it now, gets it now')
})

t.test('mail with a time that is none is put aside', async t => {
  const { drop, server } = await setUp(t)
  await drop.daemon()
  await drop.drop('mail', SAMPLE.replace('##To', '##Not-Before:soon\n##To'))
  const [failed] = await waitFor('the failure', async () => {
    const queue = await drop.queue()
    return queue[0]?.status === 'failed' && queue[0].problem !== undefined && queue
  })
  t.match(failed, { status: 'failed', problem: /^##Not-Before is "soon"; expected/ })
  t.equal(server.messages.length, 0)
})

t.test('the age of scheduled mail counts from its time', async t => {
  const { drop } = await setUp(t, { mail: () => '450 4.3.2 later' })
  const id = await drop.submit(['ann@example.org'], { notBefore: new Date(Date.now() + 30 * DAY) })
  const clock = wrongClock(drop.home)
  await drop.daemon([], clock.env)
  await waitFor('its place', () => namesIn(drop.spool, '.deferred').length === 1)
  clock.set(30 * DAY + 1000)
  const deferred = await waitFor('the deferral', async () =>
    (await drop.queue()).find(({ status }) => status === 'deferred'),
  )
  t.match(deferred, { id, attempts: 1 })
  t.equal(drop.lines('expired').length, 0)
})

for (const [way, shift] of [
  ['back', -DAY],
  ['forward', DAY],
] as const) {
  t.test(`a clock that is set ${way} by a day while the daemon runs loses, doubles and postpones nothing`, async t => {
    let greylisted = true
    const { drop, server } = await setUp(t, {
      rcpt: to => (to.startsWith('later') && greylisted ? '450 4.7.1 greylisted' : undefined),
    })
    const clock = wrongClock(drop.home)
    await drop.daemon([], clock.env)
    for (let i = 0; i < 5; i++) await drop.submit([`later${i}@example.org`])
    await waitFor('the deferrals', () => namesIn(drop.spool, '.state').length === 5)
    greylisted = false
    clock.set(shift)
    for (let i = 0; i < 5; i++) await drop.submit([`r${i}@example.org`])
    writeFileSync(join(drop.spool, 'written'), SAMPLE)
    await drop.drained()
    const expected = [...[0, 1, 2, 3, 4].flatMap(i => [`later${i}`, `r${i}`]), 'ann', 'bob']
    t.strictSame(server.recipients(), expected.map(name => `${name}@example.org`).sort())
  })
}
