/** What an administrator does to messages: with a daemon and without, against races and deaths at the wrong moment. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdirSync, readFileSync, renameSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { record } from '../../maildrop/delivery/record.ts'
import { MaildropError } from '../../maildrop/errors.ts'
import { type Claims, openClaims, takeOver } from '../../maildrop/spool/claim.ts'
import { findMail } from '../../maildrop/spool/listing.ts'
import { flushSpool, type Operation, operate, operateOnAll } from '../../maildrop/spool/operations.ts'
import { newState } from '../../maildrop/spool/state.ts'
import { DAEMON_CHANNEL, type DaemonStep, type StepMessage } from '../../maildrop/steps.ts'
import { launch } from '../support/children.ts'
import { namesIn, SAMPLE, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

async function setUp(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port)
  const act = async (operation: Operation, id: string): Promise<string> =>
    operate(operation, await findMail([drop.spool], id))
  const statusOf = async (id: string) => (await drop.queue()).find(mail => mail.id === id)?.status
  return { server, drop, act, statusOf }
}

const code = (expected: string) => (error: unknown) => error instanceof MaildropError && error.code === expected

async function rejects(t: Test, work: Promise<unknown>, expected: string, text: RegExp): Promise<void> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  t.ok(code(expected)(error), `${expected}: ${error}`)
  t.match((error as Error | undefined)?.message, text)
}

t.test('a message on hold is not sent, with a daemon running or started later, until it is released', async t => {
  const { drop, server, act, statusOf } = await setUp(t)
  const id = await drop.submit(['ann@example.org'])
  await act('hold', id.slice(0, -1))
  t.equal(await statusOf(id), 'held')
  await act('hold', id)
  await drop.daemon()
  await drop.submit(['bob@example.org'])
  await waitFor('the other message', () => server.messages.length === 1)
  t.strictSame(server.recipients(), ['bob@example.org'])
  await act('release', id)
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
  t.strictSame(namesIn(drop.spool, 'hold'), [])
})

t.test('a dropped file keeps nobody else out of the hold: it gets an id of its own', async t => {
  const { drop, server, act } = await setUp(t)
  for (let i = 0; i < 2; i++) {
    await drop.drop('mail', SAMPLE)
    utimesSync(join(drop.spool, 'mail'), 1_500_000_000, 1_500_000_000)
    const id = await act('hold', 'mail')
    t.match(await findMail([drop.spool], id), { id, status: 'held', arrived: '2017-07-14T02:40:00.000Z' })
  }
  const held = await drop.queue()
  t.equal(held.length, 2)
  for (const { id } of held) await act('release', id)
  await drop.daemon()
  await drop.drained()
  t.equal(server.messages.length, 2)
})

t.test('a deferred message is retried now, also held and released, and who has it does not get it again', async t => {
  let greylisted = true
  const { drop, server, act, statusOf } = await setUp(t, {
    rcpt: to => (to.startsWith('later') && greylisted ? '450 4.7.1 greylisted' : undefined),
  })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'later@example.org'])
  const deferred = (attempts: number) => async () =>
    (await drop.queue()).some(mail => mail.status === 'deferred' && mail.attempts === attempts)
  await waitFor('the deferral', deferred(1))
  await act('retry', id)
  await waitFor('the second attempt', deferred(2))
  await act('hold', id)
  t.equal(await statusOf(id), 'held')
  greylisted = false
  await act('release', id)
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'later@example.org'])
  await waitFor('the end of the state', () => namesIn(drop.spool, '.state').length === 0)
})

t.test('flush makes everything that is deferred due, at a running daemon too', async t => {
  let greylisted = true
  const { drop, server } = await setUp(t, { mail: () => (greylisted ? '450 4.7.1 greylisted' : undefined) })
  await drop.daemon()
  for (let i = 0; i < 5; i++) await drop.submit([`r${i}@example.org`])
  await waitFor('the deferrals', () => namesIn(drop.spool, '.deferred').length === 5)
  greylisted = false
  t.equal(await flushSpool(drop.spool), 5)
  await drop.drained()
  t.equal(server.messages.length, 5)
  t.equal(await flushSpool(drop.spool), 0)
  t.equal(await flushSpool(join(drop.home, 'no such spool')), 0)
})

t.test('a failed message is retried for those who were refused, and not for those who have it', async t => {
  let refusing = true
  const { drop, server, act } = await setUp(t, {
    rcpt: to => (to.startsWith('no') && refusing ? '550 5.1.1 no such user' : undefined),
  })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org'])
  const reason = () => namesIn(drop.spool, 'failed').includes(id)
  await waitFor('the failure', reason)
  await act('retry', id)
  await waitFor('the second failure', () => drop.lines('fail-recipient').length === 2 && reason())
  refusing = false
  await act('retry', id)
  await waitFor('the message', () => server.messages.length === 2)
  await waitFor('an empty queue', async () => (await drop.queue()).length === 0)
  t.strictSame(server.recipients(), ['ann@example.org', 'no@example.org'])
  t.strictSame(namesIn(drop.spool, 'failed'), [])
  await waitFor('the end of the state', () => namesIn(drop.spool, '.state').length === 0)
})

t.test('a file that was no mail is looked at again', async t => {
  const { drop, server, act } = await setUp(t)
  await drop.daemon()
  await drop.drop('mail', '##To:\n##From:\nSubject: x\n\nbody\n')
  const [failed] = await waitFor('the failure', async () => {
    const queue = await drop.queue()
    return queue[0]?.status === 'failed' && queue[0].problem !== undefined && queue
  })
  writeFileSync(failed!.path, SAMPLE)
  await act('retry', failed!.id)
  await drop.drained()
  t.equal(server.messages.length, 1)
  t.strictSame(namesIn(drop.spool, 'failed'), [])
})

t.test('a deleted message is gone, wherever it was', async t => {
  const { drop, act } = await setUp(t, {
    rcpt: to => (to.startsWith('no') ? '550 no' : to.startsWith('later') ? '450 later' : undefined),
  })
  const daemon = await drop.daemon()
  const failed = await drop.submit(['no@example.org'])
  const deferred = await drop.submit(['later@example.org'])
  await waitFor(
    'both verdicts',
    () => namesIn(drop.spool, 'failed').length === 2 && namesIn(drop.spool, '.deferred').length === 1,
  )
  daemon.process.kill('SIGTERM')
  await daemon.ended
  const waiting = await drop.submit(['ann@example.org'])
  const held = await drop.submit(['bob@example.org'])
  await act('hold', held)
  for (const id of [failed, deferred, waiting, held]) await act('delete', id)
  t.strictSame(await drop.queue(), [])
  for (const directory of ['failed', '.state', '.deferred', 'hold']) t.strictSame(namesIn(drop.spool, directory), [])
})

t.test('what cannot be done says why: not there, ambiguous, being delivered, in the wrong state, locked', async t => {
  const { drop, act } = await setUp(t, { data: () => 'hang' })
  const active = await drop.submit(['ann@example.org'])
  await drop.daemon()
  await waitFor('the claim', async () => (await drop.queue())[0]?.status === 'active')
  for (const operation of ['hold', 'release', 'retry', 'delete'] as const) {
    await rejects(t, act(operation, active), 'MAIL_BUSY', /is active: it is being delivered$/)
  }
  await rejects(t, act('hold', 'nothing'), 'MAIL_NOT_FOUND', /message "nothing" is not in .*spool/)
  await rejects(t, act('hold', ''), 'MAIL_NOT_FOUND', /message "" is not in/)
  writeFileSync(join(drop.spool, 'mail.lck'), '')
  writeFileSync(join(drop.spool, 'mail'), SAMPLE)
  writeFileSync(join(drop.spool, 'mail2.lck'), '')
  writeFileSync(join(drop.spool, 'mail2'), SAMPLE)
  await rejects(
    t,
    act('hold', 'mai'),
    'AMBIGUOUS_ID',
    /^2 messages .*: mail \(waiting\), mail2 \(waiting\); write more/,
  )
  await rejects(t, act('delete', 'mail'), 'MAIL_BUSY', /mail\.lck stands beside it/)
  await rejects(t, act('hold', 'mail'), 'MAIL_BUSY', /mail\.lck stands beside it/)
  await rejects(t, act('release', 'mail'), 'WRONG_STATE', /is waiting: it is not on hold$/)
})

t.test('two files of one name are told apart by their paths, and neither is touched without', async t => {
  const home = t.testdir({ one: { order: SAMPLE, failed: { 'order-2': SAMPLE } }, other: {} })
  const spools = [join(home, 'one'), join(home, 'other')]
  const [one = '', other = ''] = spools
  writeFileSync(join(other, 'order'), SAMPLE)
  writeFileSync(join(one, 'order-2'), SAMPLE)
  const paths = [join(one, 'order'), join(other, 'order')]
  const find = async (text: string) => await findMail(spools, text)
  await rejects(
    t,
    find('order'),
    'AMBIGUOUS_ID',
    new RegExp(`^2 messages .*: ${paths[0]} \\(waiting\\), ${paths[1]} \\(waiting\\); give the path of one`),
  )
  await rejects(t, find('order-'), 'AMBIGUOUS_ID', /failed\/order-2 \(failed\)/)
  for (const path of paths) t.match(await find(path), { id: 'order', path })
  t.match(await find(join(one, 'failed', '..', 'failed', 'order-2')), { status: 'failed' })
  await rejects(t, find(join(one, 'nothing')), 'MAIL_NOT_FOUND', /is not in/)
  await rejects(t, find(`${one}/`), 'MAIL_NOT_FOUND', /is not in/)
  await operate('delete', await find(paths[1]!))
  t.match(await find('order'), { path: paths[0] })
})

t.test('the loser of a race says so, and many operations stop at none', async t => {
  const { drop } = await setUp(t)
  const ids = [await drop.submit(['ann@example.org']), await drop.submit(['bob@example.org'])]
  const mails = await drop.queue()
  renameSync(join(drop.spool, ids[0]!), join(drop.home, 'away'))
  const results: (string | undefined)[] = []
  for await (const { error } of operateOnAll('hold', mails)) results.push(error?.code)
  t.strictSame(results.sort(), ['MAIL_BUSY', undefined])
  t.strictSame(namesIn(drop.spool, 'hold'), [ids[1]])
})

t.test('a message that is given up can be retried only when nothing is left to be done to it', async t => {
  const { drop } = await setUp(t)
  const giveUp = async (onReason: (claims: Claims) => void) => {
    const id = await drop.submit(['ann@example.org'])
    const claims = openClaims(drop.spool)
    const claim = claims.take(join(drop.spool, id), id)!
    const watch = (message: unknown) => {
      const { step, id: of } = message as StepMessage<DaemonStep>
      if (step === 'reason-written' && of === id) onReason(claims)
    }
    subscribe(DAEMON_CHANNEL, watch)
    const envelope = { from: 'sender@example.org', to: ['ann@example.org'] }
    const state = newState({ id, written: Date.now(), envelope })
    const recipients = [{ address: 'ann@example.org', status: 'failed' as const }]
    const done = await record(claim, { ...state, recipients }, { onDisk: false, due: 0 }).catch(
      (error: unknown) => error,
    )
    unsubscribe(DAEMON_CHANNEL, watch)
    claims.close()
    return { id, done }
  }
  let meanwhile: string[] = []
  const { id } = await giveUp(() => {
    meanwhile = [...namesIn(drop.spool, 'failed'), ...namesIn(drop.spool, '.state')]
  })
  t.strictSame(meanwhile, [`${id}.json`], 'its state is in its place before it can be found')
  t.strictSame(namesIn(drop.spool, 'failed'), [id, `${id}.json`])
  const lost = await giveUp(claims => void takeOver(drop.spool, claims.owner))
  t.ok(code('CLAIM_LOST')(lost.done), `a daemon that has stood still meanwhile touches nothing more: ${lost.done}`)
  t.notOk(namesIn(drop.spool, 'failed').includes(lost.id))
})

t.test('a retry that dies before it has written the state forgets nobody who has the message', async t => {
  const { drop, server, statusOf } = await setUp(t, {
    rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined),
  })
  const daemon = await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org'])
  await waitFor('the failure', () => namesIn(drop.spool, 'failed').includes(id))
  daemon.process.kill('SIGTERM')
  await daemon.ended
  for (const step of ['claimed', 'state-written']) {
    const child = launch(t, 'tests/support/operator.ts', ['retry', drop.spool, id, step])
    t.match(await child.ended, { end: 'SIGKILL' })
    const next = await drop.daemon()
    const expected = step === 'claimed' ? 1 : 2
    await waitFor('the message where it was', async () => (await statusOf(id)) === 'failed')
    await waitFor('the attempts', () => drop.lines('fail-recipient').length === expected)
    await waitFor('the reason', () => namesIn(drop.spool, '.state').length === 0)
    next.process.kill('SIGTERM')
    await next.ended
  }
  t.strictSame(server.recipients(), ['ann@example.org'])
  t.match(JSON.parse(readFileSync(join(drop.spool, 'failed', `${id}.json`), 'utf8')), {
    recipients: [{ status: 'sent' }, { status: 'failed' }],
  })
})

t.test('a directory that was put aside is deleted only when it is empty', async t => {
  const { drop, act, statusOf } = await setUp(t)
  const directory = join(drop.spool, 'failed', 'x1')
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, 'inside'), SAMPLE)
  await rejects(
    t,
    act('delete', 'x1'),
    'WRONG_STATE',
    /a directory with something in it: look at .*x1, and remove that/,
  )
  t.equal(await statusOf('x1'), 'failed')
  unlinkSync(join(directory, 'inside'))
  await act('delete', 'x1')
  t.equal(await statusOf('x1'), undefined)
})
