/** MAILDROP_ON_UNKNOWN="ask": what the server may have taken is put on hold, and nobody gets it twice unless somebody says so. */
import t, { type Test } from 'tap'
import { findMail } from '../../maildrop/spool/listing.ts'
import { type Operation, operate } from '../../maildrop/spool/operations.ts'
import { claimed } from '../support/claims.ts'
import { namesIn, testMaildrop } from '../support/maildrop.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

async function setUp(t: Test, script: SmtpScript, env: Record<string, string> = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port, {
    MAILDROP_ON_UNKNOWN: 'ask',
    ADD_MESSAGEID: '1',
    MAILDROP_CONNECTIONS: '1',
    ...env,
  })
  const act = async (operation: Operation, id: string) => operate(operation, await findMail([drop.spool], id))
  const held = () =>
    waitFor('the message on hold', async () => (await drop.queue()).find(({ status }) => status === 'held'))
  return { server, drop, act, held }
}

const message = 'Subject: x\r\n\r\nbody\r\n'
const idIn = ({ data }: { data: string }) => /^Message-ID: <(.*)@example.org>\r$/im.exec(data)?.[1]

t.test('a connection that is lost behind the final dot: the message waits until it is released', async t => {
  const { server, drop, act, held } = await setUp(t, {
    rcpt: to => (to.startsWith('no') ? '550 5.1.1 no such user' : undefined),
    dot: ({ to }) => (to[0] === 'ann@example.org' && server.messages.length === 0 ? 'drop-after-dot' : undefined),
  })
  await drop.daemon()
  const id = await drop.submit(['ann@example.org', 'no@example.org'], { message })
  const found = await held()
  t.match(found, {
    id,
    attempts: 1,
    problem: /^the server may have taken it \(.+\); release it to send it again, or delete it$/,
    recipients: [
      { address: 'ann@example.org', status: 'waiting' },
      { address: 'no@example.org', status: 'failed' },
    ],
  })
  await waitFor('the log', () => drop.lines('held')[0]?.includes(`id=${id} text="the server may have taken it`))
  await drop.submit(['bob@example.org'])
  await waitFor('the other message', () => server.recipients().includes('bob@example.org'))
  t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
  await t.rejects(act('retry', id), { code: 'WRONG_STATE', message: /on hold; release it/ })
  await act('release', id)
  await drop.drained()
  const copies = server.messages.filter(({ to }) => to[0] === 'ann@example.org')
  t.strictSame(copies.map(idIn), [id, id])
  t.equal(server.commands.filter(command => /^RCPT TO:<no@/i.test(command)).length, 1)
})

t.test('what is deleted has not been sent twice', async t => {
  const { server, drop, act, held } = await setUp(t, { dot: () => 'drop-after-dot' })
  await drop.daemon()
  await drop.submit(['ann@example.org'])
  await act('delete', (await held()).id)
  t.strictSame(await drop.queue(), [])
  t.strictSame(namesIn(drop.spool, '.state'), [])
  t.strictSame(server.recipients(), ['ann@example.org'])
})

t.test('a message of which nobody knows is not given up as too old', async t => {
  const { drop, held } = await setUp(
    t,
    { dot: () => 'drop-after-dot' },
    { MAILDROP_MAX_AGE: '1', MAILDROP_BOUNCE: '1' },
  )
  await drop.daemon()
  const id = await drop.submit(['ann@example.org'])
  await waitFor('the end of its time', async () => {
    const [found] = await drop.queue()
    if (found?.status === 'held') await operate('release', found)
    return found?.status === 'held' && found.attempts > 1 && Date.now() - Date.parse(found.arrived) > 1000
  })
  t.match(await held(), { id, recipients: [{ status: 'waiting' }] })
  t.strictSame(namesIn(drop.spool, 'failed'), [])
})

for (const [steps, text] of [
  [['accepted'], 'behind the final dot'],
  [['accepted', 'state-written'], 'and the next one while it writes that down'],
  [['accepted', 'held'], 'and the next one when it has put it on hold'],
] as const) {
  t.test(`a daemon is killed ${text}: the message is on hold, and sent again when it is released`, async t => {
    const { server, drop, act, held } = await setUp(t, {})
    const id = await drop.submit(['ann@example.org'], { message })
    for (const step of steps) t.match(await (await drop.daemon([step])).ended, { end: 'SIGKILL' })
    await drop.daemon()
    t.match(await held(), { id, problem: /the daemon died or stood still/, recipients: [{ status: 'waiting' }] })
    await drop.submit(['bob@example.org'])
    await waitFor('the other message', () => server.recipients().includes('bob@example.org'))
    t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
    await act('release', id)
    await drop.drained()
    t.strictSame(server.messages.filter(({ to }) => to[0] === 'ann@example.org').map(idIn), [id, id])
  })
}

t.test('a daemon is killed when it has just claimed what was released: that is not held again', async t => {
  const { server, drop, act, held } = await setUp(t, {})
  const id = await drop.submit(['ann@example.org'], { message })
  t.match(await (await drop.daemon(['accepted'])).ended, { end: 'SIGKILL' })
  const second = await drop.daemon()
  await held()
  second.process.kill('SIGTERM')
  await second.ended
  await act('release', id)
  t.match(await (await drop.daemon(['claimed'])).ended, { end: 'SIGKILL' })
  t.strictSame(claimed(drop.spool), [id])
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org', 'ann@example.org'])
})
