/** Claims: daemons that die at every step, and what they leave. */
import { renameSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { ensureSpool } from '../../maildrop/spool/layout.ts'
import type { DaemonStep } from '../../maildrop/steps.ts'
import { claimed, plantClaim } from '../support/claims.ts'
import { MESSAGE, makeDue, namesIn, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

async function serverFor(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return server
}

/** A daemon beside others: with a pid file and a log of its own. */
const beside = (drop: TestMaildrop, name: string, env: Record<string, string> = {}) =>
  drop.daemon([], { MAILDROP_VAR: join(drop.home, name), ...env })

t.test('what a killed daemon had claimed is sent by another one within seconds', async t => {
  let hanging = true
  const server = await serverFor(t, { data: () => (hanging ? 'hang' : undefined) })
  const drop = testMaildrop(t, server.port)
  // It is not the end of a lease that is waited for.
  const endless = { TEST_TIMING: JSON.stringify({ lease: 1e9 }) }
  const first = await beside(drop, 'var1', endless)
  await drop.submit(['ann@example.org'])
  await waitFor('the claim', () => claimed(drop.spool).length === 1)
  const second = await beside(drop, 'var2', endless)
  hanging = false
  first.process.kill('SIGKILL')
  const died = performance.now()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org'])
  t.comment(`taken back and sent ${Math.round(performance.now() - died)} ms after the kill`)
  second.process.kill('SIGTERM')
  await second.ended
  t.strictSame(namesIn(drop.spool, '.claim'), [], 'the claims of the dead daemon are cleaned up')
})

/**
 * Every step of the daemon. Two messages pass all of them: one for ann and later, of whom later is greylisted once, and
 * one for bob and no, who is refused. The steps of notices are in notices.test.ts, that of a mailbox in
 * capture.test.ts, `held` in unknown.test.ts.
 */
const STEPS: Record<Exclude<DaemonStep, `notice-${string}` | 'appending' | 'held'>, { readonly twice?: true }> = {
  claimed: {},
  sending: {},
  accepted: { twice: true },
  'state-written': {},
  deferred: {},
  'reason-written': {},
  failed: {},
  removed: {},
  'state-removed': {},
  'taken-back': {},
}

for (const [step, { twice = false }] of Object.entries(STEPS)) {
  const times = twice ? 'twice, with the same Message-ID' : 'once'
  t.test(`kill -9 at the step ${step}: nothing is lost, everyone gets the message ${times}`, async t => {
    let greylisted = true
    const server = await serverFor(t, {
      rcpt(to) {
        if (to.startsWith('no')) return '550 5.1.1 no such user'
        if (!to.startsWith('later') || !greylisted) return undefined
        greylisted = false
        return '450 4.7.1 greylisted'
      },
    })
    const drop = testMaildrop(t, server.port, {
      MAILDROP_INTERVAL: '0.2',
      ADD_MESSAGEID: '1',
      MAILDROP_CONNECTIONS: '1',
    })
    const message = 'Subject: x\r\n\r\nbody\r\n'
    await drop.submit(['ann@example.org', 'later@example.org'], { message })
    const refused = await drop.submit(['bob@example.org', 'no@example.org'], { message })
    if (step === 'taken-back') plantClaim(drop.spool, 'extra@example.org')
    const victim = await drop.daemon([step])
    const dead = victim.ended.then(({ end }) => end)
    await waitFor('the death of the daemon', async () => {
      makeDue(drop.spool)
      return Promise.race([dead, false])
    })
    t.equal(await dead, 'SIGKILL')
    await drop.daemon()
    await waitFor('an empty queue', async () => {
      makeDue(drop.spool)
      return (await drop.queue()).every(({ status }) => status === 'failed')
    })
    const expected = ['ann@example.org', 'bob@example.org', 'later@example.org']
    if (step === 'taken-back') expected.push('extra@example.org')
    const received = server.recipients()
    t.strictSame([...new Set(received)], expected.sort())
    t.equal(received.length, twice ? expected.length + 1 : expected.length)
    const ids = new Set(server.messages.map(({ data }) => /^Message-ID: (.*)$/im.exec(data)?.[1]))
    t.equal(ids.size, step === 'taken-back' ? 3 : 2, 'a message has one Message-ID in all attempts')
    await waitFor('the reason', () => namesIn(drop.spool, 'failed').length === 2)
    const [failed, ...others] = await drop.queue()
    t.strictSame(others, [])
    t.match(failed, { id: refused, status: 'failed', attempts: 1 })
    t.match(failed?.recipients, [
      { address: 'bob@example.org', status: 'sent' },
      { address: 'no@example.org', status: 'failed', reply: '550 5.1.1 no such user (rcpt)' },
    ])
    t.strictSame(claimed(drop.spool), [])
    t.strictSame(namesIn(drop.spool, '.deferred'), [])
  })
}

t.test('a damaged state, a stray file and a lost message among the claims hold up nothing else', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  await ensureSpool(drop.spool)
  const damaged = plantClaim(drop.spool, 'damaged@example.org')
  writeFileSync(join(drop.spool, '.state', damaged), '{"version":1')
  const cut = plantClaim(drop.spool, 'cut@example.org')
  const [owner] = namesIn(drop.spool, '.claim') as [string]
  writeFileSync(join(drop.spool, '.claim', owner, `${cut}.sent1`), '##To:cut@example.org\n')
  renameSync(join(drop.spool, '.claim', owner, cut), join(drop.home, 'away'))
  writeFileSync(join(drop.spool, '.claim', 'stray'), '')
  plantClaim(drop.spool, 'ann@example.org')
  await drop.daemon()
  await waitFor('the good message', () => server.messages.length > 0)
  await waitFor('both reasons', () => namesIn(drop.spool, 'failed').length === 4)
  t.strictSame(server.recipients(), ['ann@example.org'])
  const failed = new Map((await drop.queue()).map(({ id, problem }) => [id, problem]))
  t.match(failed.get(damaged), /is damaged, so it is not known who has got the message/)
  t.equal(failed.get(cut), 'there is no ##From line at the top')
})

t.test('a start finishes what a dead daemon left of states, and touches no young one', async t => {
  const server = await serverFor(t)
  const drop = testMaildrop(t, server.port)
  await ensureSpool(drop.spool)
  const state = (id: string): string => join(drop.spool, '.state', id)
  for (const id of ['orphan', 'young', 'given-up']) writeFileSync(state(id), '{}')
  utimesSync(state('orphan'), 1, 1)
  writeFileSync(join(drop.spool, 'failed', 'given-up'), MESSAGE)
  await drop.daemon()
  t.strictSame(namesIn(drop.spool, '.state'), ['given-up', 'young'], 'what has failed keeps what is known of it')
})
