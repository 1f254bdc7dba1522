/** Leases: many daemons on one spool of which one stands still or dies, and clocks that say anything. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { Child } from '../support/children.ts'
import { claimantOf, claimed, plantClaim, sentBy } from '../support/claims.ts'
import { wrongClock } from '../support/clock.ts'
import { namesIn, type TestMaildrop, testMaildrop, whileFrozen } from '../support/maildrop.ts'
import { type ScriptedServer, type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

const LEASE = 3000
const DAY = 86_400_000

async function setUp(t: Test, script: SmtpScript = {}, env: Record<string, string> = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  const timing = JSON.stringify({ tick: 100, heartbeat: 200, lease: LEASE })
  return { server, drop: testMaildrop(t, server.port, { TEST_TIMING: timing, MAILDROP_CONNECTIONS: '1', ...env }) }
}

/** A daemon beside others: with a pid file and a log of its own. */
const beside = (drop: TestMaildrop, name: string, env: Record<string, string> = {}) =>
  drop.daemon([], { MAILDROP_VAR: join(drop.home, name), MAILDROP_LOG_FILE: join(drop.home, `${name}.log`), ...env })

/** Resolves when some daemon has watched for longer than a lease: it has given up one that nobody can see. */
async function aLeaseHasPassed(drop: TestMaildrop, server: ScriptedServer, marker: string): Promise<void> {
  const to = `${marker}@example.org`
  plantClaim(drop.spool, to, { host: `elsewhere-${marker}`, boot: 'f0'.repeat(16) })
  await waitFor('the claims of a daemon elsewhere', () => server.recipients().includes(to), 120_000)
}

/** An answer that the server gives when it is told to. */
function later(): [Promise<undefined>, () => void] {
  let answer: () => void = () => undefined
  const answered = new Promise<undefined>(resolve => {
    answer = () => resolve(undefined)
  })
  return [answered, answer]
}

for (const count of [2, 4]) {
  t.test(`${count} daemons, one frozen past its lease, one killed: each of 2,000 messages is sent once`, async t => {
    /** What befalls the daemon that sends the first message from that number on, and to whom that was. */
    interface Strike {
      from: number
      signal: NodeJS.Signals
      victim?: Child | undefined
      to?: string
    }
    let strike: Strike = { from: Number.POSITIVE_INFINITY, signal: 'SIGSTOP' }
    const daemons: Child[] = []
    const ids = new Map<string, string>()
    const script: SmtpScript = {
      async data({ to: [to = ''] }) {
        const id = ids.get(to)
        if (strike.victim || id === undefined || Number(/\d+/.exec(to)) < strike.from) return undefined
        const victim = daemons.find(daemon => daemon.pid === claimantOf(drop.spool, id))
        Object.assign(strike, { to, victim })
        // The envelope came with the message before, whose answer is still on its way.
        await waitFor('the end of the message before', () => victim && sentBy(drop.spool, victim.pid).length === 0)
        victim?.process.kill(strike.signal)
        return undefined
      },
    }
    // Longer than a busy machine keeps a daemon waiting.
    const timing = JSON.stringify({ tick: 100, heartbeat: 200, lease: 3 * LEASE })
    const { server, drop } = await setUp(t, script, { TEST_TIMING: timing })
    const submit = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) ids.set(`r${i}@example.org`, await drop.submit([`r${i}@example.org`]))
    }
    daemons.push(...(await Promise.all(Array.from({ length: count }, (_, i) => beside(drop, `var${i}`)))))
    const freeze: Strike = { from: 500, signal: 'SIGSTOP' }
    strike = freeze
    await submit(0, 1000)
    const itsMessageIsTaken = () => strike.victim && server.recipients().includes(strike.to ?? '')
    await waitFor('the message of the frozen daemon', itsMessageIsTaken, 120_000)
    freeze.victim?.process.kill('SIGCONT')
    await waitFor('the message that it had begun, without an end', () => server.incomplete === 1)

    strike = { from: 1500, signal: 'SIGKILL' }
    await submit(1000, 2000)
    await waitFor('the message of the killed daemon', itsMessageIsTaken, 120_000)
    t.match(await strike.victim?.ended, { end: 'SIGKILL' })
    await waitFor('an empty queue', async () => (await drop.queue()).length === 0, 120_000)
    t.strictSame(server.recipients(), [...ids.keys()].sort())
    t.strictSame(server.violations, [])
    for (const daemon of daemons) daemon.process.kill('SIGTERM')
    const survivors = daemons.filter(daemon => daemon !== strike.victim)
    for (const daemon of survivors) t.match(await daemon.ended, { end: 0, stderr: '' })
    t.strictSame(namesIn(drop.spool, '.claim'), [])
    t.strictSame(namesIn(drop.spool, '.state'), [])
    t.strictSame(namesIn(drop.spool, 'failed'), [])
  })
}

t.test(
  'daemons are frozen at every stage and wake up later: nothing is lost, and twice is only what the journal says',
  async t => {
    const stages = ['mail', 'rcpt', 'data', 'body', 'dot'] as const
    let strike: { stage: (typeof stages)[number]; left: number; victim: Child } | undefined
    const see = (stage: (typeof stages)[number]): undefined => {
      if (strike?.stage !== stage) return
      strike.left -= 1
      if (strike.left === 0) strike.victim.process.kill('SIGSTOP')
    }
    const script: SmtpScript = {
      mail: () => see('mail'),
      rcpt: () => see('rcpt'),
      data: () => see('data'),
      body: () => see('body'),
      dot: () => see('dot'),
    }
    const { server, drop } = await setUp(t, script, { ADD_MESSAGEID: '1', MAILDROP_CONNECTIONS: '3' })
    const names = ['one', 'two']
    const daemons = await Promise.all(names.map(name => beside(drop, name)))
    const expected = new Map<string, string>()
    const logs = (): string => names.map(name => readFileSync(join(drop.home, `${name}.log`), 'utf8')).join('')
    const lost = (): number => logs().split(' claims-lost ').length - 1
    for (const [round, stage] of stages.entries()) {
      const victim = daemons[round % 2]!
      strike = { stage, left: 4 + round, victim }
      const before = lost()
      for (let i = 0; i < 60; i++) {
        const to = `r${round}-${i}@example.org`
        const message = `Subject: ${i}\r\n\r\n${`line of ${to}\r\n`.repeat(i % 5 === 0 ? 3000 : 2)}`
        expected.set(to, await drop.submit([to], { message }))
      }
      const isTaken = () => namesIn(drop.spool, '.claim').every(name => !name.startsWith(`${victim.pid}_`))
      await waitFor(`its claims to be taken back: frozen at ${stage}`, isTaken, 120_000)
      victim.process.kill('SIGCONT')
      await waitFor('it to notice', () => lost() > before, 120_000)
    }
    strike = undefined
    await waitFor('an empty queue', async () => (await drop.queue()).length === 0, 120_000)
    for (const { process } of daemons) process.kill('SIGTERM')
    for (const daemon of daemons) t.match(await daemon.ended, { end: 0, stderr: '' })
    t.strictSame([...new Set(server.recipients())], [...expected.keys()].sort(), 'nothing is lost')
    const unknown = new Set(Array.from(logs().matchAll(/ unknown id=(\S+)/g), ([, id]) => id))
    const copies = new Map<string, string[]>()
    for (const { to, data } of server.messages) copies.set(to[0]!, [...(copies.get(to[0]!) ?? []), data])
    const repeated = [...copies].filter(([, texts]) => texts.length > 1)
    for (const [to, texts] of repeated) {
      t.ok(unknown.has(expected.get(to)), `${to} got it twice, and the log knows`)
      t.equal(new Set(texts).size, 1, 'the copies are the same, with the same Message-ID')
    }
    t.comment(`${repeated.length} of ${expected.size} were sent again`)
    t.strictSame(server.violations, [])
    for (const place of ['.claim', '.state', '.deferred', 'failed']) t.strictSame(namesIn(drop.spool, place), [], place)
  },
)

t.test('a message whose final dot was out when its daemon froze is sent again; its answer comes too late', async t => {
  const [first, answer] = later()
  let dots = 0
  const { server, drop } = await setUp(t, { dot: () => (dots++ === 0 ? first : undefined) }, { ADD_MESSAGEID: '1' })
  const frozen = await beside(drop, 'frozen')
  const id = await drop.submit(['ann@example.org'], { message: 'Subject: x\r\n\r\nbody\r\n' })
  await waitFor('the final dot', () => claimed(drop.spool).includes(`${id}.sent1`))
  await waitFor('the server to have it', () => dots === 1)
  frozen.process.kill('SIGSTOP')
  await drop.daemon()
  await waitFor('the log to say so', () => drop.lines('unknown').length === 1, 120_000)
  t.match(drop.lines('unknown')[0], `id=${id} to=ann@example.org`)
  await waitFor('the second copy', () => server.messages.length === 1)
  answer()
  frozen.process.kill('SIGCONT')
  await waitFor('the first copy', () => server.messages.length === 2)
  const [one, two] = server.messages.map(({ data }) => /^Message-ID: (.*)$/im.exec(data)?.[1])
  t.equal(one, `<${id}@example.org>`)
  t.equal(two, one)
  const last = await drop.submit(['bob@example.org'])
  await drop.drained()
  frozen.process.kill('SIGTERM')
  t.match(await frozen.ended, { end: 0, stderr: '' })
  t.strictSame(server.recipients(), ['ann@example.org', 'ann@example.org', 'bob@example.org'])
  t.ok(last)
  t.strictSame(namesIn(drop.spool, '.state'), [])
})

t.test('a daemon that dies while it takes back leaves what is left to the next', async t => {
  const { server, drop } = await setUp(t)
  const expected = Array.from({ length: 5 }, (_, i) => `r${i}@example.org`)
  for (const to of expected) plantClaim(drop.spool, to)
  for (let i = 0; i < 2; i++) t.match(await (await drop.daemon(['taken-back', '2'])).ended, { end: 'SIGKILL' })
  await drop.daemon()
  await drop.drained()
  t.strictSame(server.recipients(), expected)
  t.equal(namesIn(drop.spool, '.claim').length, 1, 'the directories of the dead are gone')
})

t.test('a spool that is removed in the middle of a message: it is not sent, and the new one is served', async t => {
  const [answered, answer] = later()
  const { server, drop } = await setUp(t, { data: ({ to }) => (to[0] === 'ann@example.org' ? answered : undefined) })
  const daemon = await drop.daemon([], { MAILDROP_CONNECTIONS: '2' })
  const id = await drop.submit(['ann@example.org'])
  await waitFor('the claim', () => claimantOf(drop.spool, id) === daemon.pid)
  await waitFor('the transfer', () => server.commands.includes('DATA'))
  await whileFrozen(daemon, () => rmSync(drop.spool, { recursive: true }))
  await waitFor('a new spool', () => namesIn(drop.spool).includes('failed'))
  answer()
  await waitFor('the end of the transfer', () => server.incomplete === 1)
  await drop.submit(['bob@example.org'])
  await drop.drained()
  t.strictSame(server.recipients(), ['bob@example.org'])
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
})

t.test('clocks that are set by a day expire no living daemon, and keep no dead one', async t => {
  const { server, drop } = await setUp(t, { dot: ({ to }) => (to[0] === 'ann@example.org' ? 'hang' : undefined) })
  const clock = wrongClock(drop.home)
  const living = await beside(drop, 'living', clock.env)
  const id = await drop.submit(['ann@example.org'])
  await waitFor('the final dot', () => claimed(drop.spool).includes(`${id}.sent1`))
  await drop.daemon([], clock.env)
  for (const shift of [DAY, -DAY, 0]) {
    clock.set(shift)
    await aLeaseHasPassed(drop, server, `at${shift}`)
    t.equal(claimantOf(drop.spool, id), living.pid)
  }
})

t.test('daemons that were suspended together keep what they have', async t => {
  const { server, drop } = await setUp(t, { dot: ({ to }) => (to[0] === 'ann@example.org' ? 'hang' : undefined) })
  const living = await beside(drop, 'living')
  const id = await drop.submit(['ann@example.org'])
  await waitFor('the final dot', () => claimed(drop.spool).includes(`${id}.sent1`))
  const watching = await drop.daemon()
  await aLeaseHasPassed(drop, server, 'before')
  for (const { process } of [living, watching]) process.kill('SIGSTOP')
  await sleep(LEASE + 500)
  for (const { process } of [watching, living]) process.kill('SIGCONT')
  await aLeaseHasPassed(drop, server, 'after')
  t.equal(claimantOf(drop.spool, id), living.pid)
  t.strictSame(drop.lines('claims-lost'), [])
})

t.test('a daemon that stands still alone goes on where it was', async t => {
  const [answered, answer] = later()
  const { server, drop } = await setUp(t, { dot: () => answered })
  const daemon = await drop.daemon()
  const id = await drop.submit(['ann@example.org'])
  await waitFor('the final dot', () => claimed(drop.spool).includes(`${id}.sent1`))
  daemon.process.kill('SIGSTOP')
  await sleep(LEASE + 500)
  daemon.process.kill('SIGCONT')
  answer()
  await drop.drained()
  t.strictSame(server.recipients(), ['ann@example.org'])
  t.strictSame(drop.lines('claims-lost'), [])
})
