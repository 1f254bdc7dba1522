/** MAILDROP_RATE: how many messages may go, over all connections, whoever they are from. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { askDaemon, controlPath } from '../../maildrop/daemon/control-socket.ts'
import type { Log } from '../../maildrop/daemon/log.ts'
import { openRateFile } from '../../maildrop/daemon/rate-file.ts'
import type { ServeStatus } from '../../maildrop/daemon/serve.ts'
import { openThrottle, type Permit } from '../../maildrop/daemon/throttle.ts'
import { plantClaim } from '../support/claims.ts'
import { namesIn, testMaildrop } from '../support/maildrop.ts'
import { fc } from '../support/properties.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.test('no period has more than the limit, and nothing waits longer than it has to', async () => {
  const step = fc.oneof(
    fc.record({ pass: fc.integer({ min: 1, max: 700 }) }),
    fc.constantFrom('send', 'give back', 'restart'),
  )
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 200 }), (messages, steps) => {
      let now = 0
      const sent: number[] = []
      const memory = {
        get ages() {
          return sent.map(time => now - time).filter(age => age < 1000)
        },
        used: () => void sent.push(now),
        close: () => undefined,
      }
      const open = () => openThrottle({ messages, seconds: 1, text: '' }, memory, () => now)
      let throttle = open()
      for (const step of steps) {
        if (typeof step === 'object') now += step.pass
        const recent = sent.filter(time => time > now - 1000)
        if (recent.length > messages) return false
        const expected = recent.length < messages ? 0 : recent.at(-messages)! + 1000 - now
        if (throttle.wait !== expected) return false
        if (throttle.status?.used !== recent.length) return false
        if (step === 'restart') throttle = open()
        if (typeof step === 'object' || step === 'restart' || throttle.wait > 0) continue
        const permit: Permit = throttle.take()
        if (step === 'send') permit.use()
        permit.end()
      }
      return true
    }),
  )
})

t.test('as many go as may, over all connections; a reload with another limit lets more go', async t => {
  const server = await startSmtpScript()
  t.teardown(() => server.close())
  const drop = testMaildrop(t, server.port)
  const config = join(drop.home, 'conf')
  const limit = (rate: string): void => writeFileSync(config, `MAILDROP_RATE="${rate}"\n`)
  limit('3/d')
  const daemon = await drop.daemon([], { MAILDROP_CONFIG: config })
  const status = async () =>
    (await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'status', 10_000)) as ServeStatus
  for (let i = 0; i < 12; i++) await drop.submit([`r${i}@example.org`], { from: `s${i}@example.org` })
  await waitFor('the first', () => server.messages.length === 3)
  // Rounds of the daemon in which it would send more if it did not hold back.
  for (const start of ['1', '2']) {
    plantClaim(drop.spool, 'x@example.org', { start })
    await waitFor('a round', () => namesIn(drop.spool, '.claim').every(name => !name.includes(`_${start}_`)))
  }
  t.equal(server.messages.length, 3)
  const { rate } = await status()
  t.match(rate, { limit: '3/d', used: 3 })
  t.ok(rate !== undefined && rate.wait > 80_000 && rate.wait <= 86_400, `${rate?.wait} seconds to wait`)

  limit('5/d')
  await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'reload', 10_000)
  await waitFor('some more', () => server.messages.length === 8)
  await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'reload', 10_000)
  t.match((await status()).rate, { limit: '5/d', used: 5 }, 'what went before counts')
  t.equal(server.messages.length, 8)

  daemon.process.kill('SIGKILL')
  await daemon.ended
  const next = await drop.daemon([], { MAILDROP_CONFIG: config })
  await waitFor('what was left', async () => (await status()).backlog === 6)
  t.match((await status()).rate, { limit: '5/d', used: 5 }, 'what went before a kill counts too')
  t.equal(server.messages.length, 8)

  limit('4/s')
  await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'reload', 10_000)
  await drop.drained()
  t.equal(server.messages.length, 14, 'nobody has to wake it')
  next.process.kill('SIGTERM')
  t.match(await next.ended, { end: 0, stderr: '' })
})

t.test('what is written down is read again, whatever has become of the file', async t => {
  const { home } = testMaildrop(t, 25)
  const path = join(home, 'var', 'maildrop.rate')
  const rate = { messages: 3, seconds: 3600, text: '3/h' }
  const said: string[] = []
  const log = { line: (event: string) => said.push(event) } as unknown as Log
  const ages = (): number => openRateFile(path, rate, log).ages.length
  t.equal(ages(), 0)
  const file = openRateFile(path, rate, log)
  for (let i = 0; i < 5000; i++) file.used()
  t.equal(ages(), 5000)
  const now = Date.now()
  const old = Array.from({ length: 20_000 }, () => now - 3_600_001)
  writeFileSync(path, `3/h\n${[...old, now - 1_800_000, now + 86_400_000].join('\n')}\n${`${now}`.slice(0, 5)}`)
  const found = openRateFile(path, rate, log)
  t.equal(found.ages.length, 2, 'one that is not old, and one of a clock that was set back')
  t.ok(found.ages.every(age => age >= 0 && age < 3_600_000))
  found.used()
  t.equal(readFileSync(path, 'utf8').trim().split('\n').length, 4, 'what is old is gone')
  found.close()
  file.close()
  t.equal(openRateFile(path, { ...rate, text: '5/h' }, log).ages.length, 0)
  t.strictSame(said, [])
  rmSync(path)
  mkdirSync(path)
  const impossible = openRateFile(path, rate, log)
  for (let i = 0; i < 3; i++) impossible.used()
  t.strictSame(said, ['rate-failed'], 'said once')
})
