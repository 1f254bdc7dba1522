/** MAILDROP_RATE: how many messages may go, over all connections, whoever they are from. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { askDaemon, controlPath } from '../../maildrop/daemon/control-socket.ts'
import type { ServeStatus } from '../../maildrop/daemon/serve.ts'
import { openThrottle, type Permit } from '../../maildrop/daemon/throttle.ts'
import { plantClaim } from '../support/claims.ts'
import { namesIn, testMaildrop } from '../support/maildrop.ts'
import { fc } from '../support/properties.ts'
import { startSmtpScript } from '../support/smtp-script.ts'
import { waitFor } from '../support/waiting.ts'

t.test('no period has more than the limit, and nothing waits longer than it has to', async () => {
  const step = fc.oneof(fc.record({ pass: fc.integer({ min: 1, max: 700 }) }), fc.constantFrom('send', 'give back'))
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), fc.array(step, { maxLength: 200 }), (messages, steps) => {
      let now = 0
      const throttle = openThrottle({ messages, seconds: 1, text: '' }, () => now)
      const sent: number[] = []
      for (const step of steps) {
        if (typeof step === 'object') now += step.pass
        const recent = sent.filter(time => time > now - 1000)
        if (recent.length > messages) return false
        const expected = recent.length < messages ? 0 : recent.at(-messages)! + 1000 - now
        if (throttle.wait !== expected) return false
        if (throttle.status?.used !== recent.length) return false
        if (typeof step === 'object' || throttle.wait > 0) continue
        const permit: Permit = throttle.take()
        if (step === 'send') {
          permit.use()
          sent.push(now)
        }
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

  limit('4/s')
  await askDaemon(controlPath(join(drop.home, 'var', 'maildrop.pid')), 'reload', 10_000)
  await drop.drained()
  t.equal(server.messages.length, 14, 'nobody has to wake it')
  daemon.process.kill('SIGTERM')
  t.match(await daemon.ended, { end: 0, stderr: '' })
})
