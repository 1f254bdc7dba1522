/** Whose turn it is: senders take turns, new and deferred mail take turns, as a receiving server sees it. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { openFairQueue } from '../../maildrop/daemon/fair-queue.ts'
import { openFifo } from '../../maildrop/daemon/fifo.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { MESSAGE, type TestMaildrop, testMaildrop } from '../support/maildrop.ts'
import { fc } from '../support/properties.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

// Most of the time is waiting.
t.jobs = 3

t.test('a fifo gives back what it got, in order', async () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.nat(5000), fc.constant('shift' as const))), steps => {
      const [fifo, model] = [openFifo<number>(), [] as number[]]
      let count = 0
      for (const step of steps) {
        if (step === 'shift') {
          if (fifo.shift() !== model.shift()) return false
        } else
          for (let i = 0; i < step; i++, count++) {
            fifo.push(count)
            model.push(count)
          }
        if (fifo.size !== model.length) return false
      }
      while (model.length > 0) if (fifo.shift() !== model.shift()) return false
      return fifo.shift() === undefined
    }),
    { numRuns: 30 },
  )
})

t.test('whatever is added, put back and taken: every name comes out once, and is looked at once', async () => {
  const sender = fc.constantFrom('a', 'b', 'c', 'd')
  fc.assert(
    fc.property(fc.array(fc.oneof(sender, fc.constantFrom('take', 'back')), { maxLength: 300 }), steps => {
      const looked = new Map<string, number>()
      const queue = openFairQueue(name => {
        looked.set(name, (looked.get(name) ?? 0) + 1)
        return name[0]!
      })
      const inside = new Set<string>()
      let last: string | undefined
      let count = 0
      for (const step of steps) {
        if (step === 'take') {
          last = queue.take()
          if ((last === undefined) !== (inside.size === 0)) return false
          if (last !== undefined && !inside.delete(last)) return false
        } else if (step === 'back') {
          if (last === undefined) continue
          queue.putBack(last)
          inside.add(last)
          if (queue.take() !== last) return false
          inside.delete(last)
          last = undefined
        } else {
          const name = `${step}${count++}`
          for (let i = 0; i < 2; i++) queue.add(name)
          inside.add(name)
        }
        if (queue.size !== inside.size) return false
      }
      const rest: string[] = []
      for (let name = queue.take(); name !== undefined; name = queue.take()) rest.push(name)
      const once = [...looked.values()].every(times => times === 1)
      return once && rest.length === inside.size && rest.every(name => inside.has(name))
    }),
  )
})

t.test(
  'a name that has been taken comes again when that is over, once, and only if it was added meanwhile',
  async t => {
    const queue = openFairQueue(() => 'a')
    queue.add('n')
    t.equal(queue.take(), 'n')
    queue.done('n')
    t.equal(queue.take(), undefined)
    queue.add('n')
    t.equal(queue.take(), 'n')
    for (let i = 0; i < 2; i++) queue.add('n')
    t.equal(queue.size, 0)
    t.equal(queue.take(), undefined)
    queue.done('n')
    t.strictSame([queue.take(), queue.take()], ['n', undefined])
    queue.putBack('n')
    queue.add('n')
    t.strictSame([queue.take(), queue.take()], ['n', undefined])
  },
)

t.test('of many names of one sender and few of others, the few come soon, wherever they stand', async t => {
  for (const position of [0, 50_000, 99_999]) {
    const queue = openFairQueue(name => (name === 'other' ? 'b' : 'a'))
    for (let i = 0; i < 100_000; i++) queue.add(i === position ? 'other' : `n${i}`)
    let turns = 1
    while (queue.take() !== 'other') turns += 1
    t.ok(turns <= position / 8 + 2, `at ${position}: after ${turns} turns`)
  }
  const queue = openFairQueue(name => name[0]!)
  for (let i = 0; i < 100_000; i++) queue.add(`a${i}`)
  for (let i = 0; i < 5; i++) queue.take()
  for (let i = 0; i < 3; i++) queue.add(`b${i}`)
  const next = Array.from({ length: 6 }, () => queue.take())
  t.strictSame(
    next.filter(name => name?.startsWith('b')),
    ['b0', 'b1', 'b2'],
    'what comes later too, every other turn',
  )
})

async function setUp(t: Test, script: SmtpScript = {}) {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return { server, drop: testMaildrop(t, server.port, { MAILDROP_CONNECTIONS: '1' }) }
}

/** Files of a spool that no daemon serves yet. */
function plant(drop: TestMaildrop, directory: string, from: string, count: number, time = ''): void {
  mkdirSync(join(drop.spool, directory), { recursive: true })
  for (let i = 0; i < count; i++) {
    const id = newMailId()
    const content = formatMailFile({ id, from, to: [from] }, Buffer.from(MESSAGE))
    writeFileSync(join(drop.spool, directory, `${time}${id}`), content)
  }
}

t.test('500 messages of one sender do not delay one of another, nor do 500 deferred ones', async t => {
  let goOn: () => void = () => undefined
  const submitted = new Promise<undefined>(resolve => {
    goOn = () => resolve(undefined)
  })
  const { server, drop } = await setUp(t, { dot: () => (server.messages.length === 20 ? submitted : undefined) })
  plant(drop, '.', 'bulk@example.org', 500)
  plant(drop, '.deferred', 'again@example.org', 500, '1.')
  const order = (from: string): number => server.messages.findIndex(message => message.from === from)
  await drop.daemon()
  await waitFor('some of them', () => server.messages.length === 20)
  const before = server.messages.length
  await drop.submit(['ann@example.org'], { from: 'ann@example.org' })
  goOn()
  const place = await waitFor('the message', () => order('ann@example.org') >= 0 && order('ann@example.org'))
  t.ok(place < 900, `it came at place ${place} of 1,001, submitted after ${before}`)
  await waitFor('all of them', () => server.messages.length === 1001, 120_000)
  const firsts = server.messages.slice(0, 200)
  const deferred = firsts.filter(({ from }) => from === 'again@example.org').length
  t.ok(deferred > 35 && deferred < 75, `deferred mail had ${deferred} of the first 200 turns`)
})

t.test('a message that becomes due among many others is sent, and so is a new one', async t => {
  const { server, drop } = await setUp(t)
  const soon = Math.round(Date.now() / 1000) + 3600
  plant(drop, '.deferred', 'later@example.org', 2000, `${soon}.`)
  plant(drop, '.deferred', 'due@example.org', 1, `${Math.round(Date.now() / 1000) + 2}.`)
  await drop.daemon()
  await drop.submit(['ann@example.org'], { from: 'ann@example.org' })
  await waitFor('both', () => server.messages.length === 2)
  t.strictSame(server.messages.map(({ from }) => from).sort(), ['ann@example.org', 'due@example.org'])
})
