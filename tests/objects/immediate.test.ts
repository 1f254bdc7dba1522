/** `immediate`: delivered while the caller waits, whatever becomes of the transaction. */
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { MaildropHost, openDatabase, type SendOptions } from '../../objects/index.ts'
import { newLevel } from '../support/database.ts'
import { freePort } from '../support/ports.ts'
import { directory } from '../support/program.ts'
import { type SmtpScript, startSmtpScript } from '../support/smtp-script.ts'

async function place(t: Test, script: SmtpScript = {}, settings = '') {
  const server = await startSmtpScript(script)
  t.teardown(() => server.close())
  return { server, ...(await sender(t, server.port, settings)) }
}

async function sender(t: Test, port: number, settings = '') {
  const home = await directory(t)
  const file = join(home, 'config')
  writeFileSync(file, `MAILDROP_HOME=${home}\nSMTP_HOST=127.0.0.1\nSMTP_PORT=${port}\nMAILDROP_TLS=0\n${settings}\n`)
  const db = await openDatabase(newLevel(), { maildropConfig: file })
  t.teardown(() => db.close())
  await db.transact(app => app.create('/mail', new MaildropHost()))
  const send = (options: SendOptions, after: () => void = () => undefined) =>
    db.transact(async app => {
      const options_ = { from: 'shop@example.org', immediate: true, ...options }
      const id = await app.traverse('/mail', MaildropHost).send('Subject: now\nBcc: x@example.org\n\nHello', options_)
      after()
      return id
    })
  return { home, send }
}

t.test(
  'the message is there when send returns, with its Message-ID and without Bcc, and the spool stays empty',
  async t => {
    const { server, home, send } = await place(t)
    const messageId = await send({ to: ['ann@example.org', 'bob@example.org'] }, () => {
      t.strictSame(server.recipients(), ['ann@example.org', 'bob@example.org'])
    })
    const text = server.messages[0]!.data
    t.ok(text.includes(`Message-ID: ${messageId}\r\n`))
    t.notMatch(text, /Bcc/i)
    t.notOk(existsSync(join(home, 'spool')), 'no spool is needed')
  },
)

t.test('it has left also if the transaction fails afterwards', async t => {
  const { server, send } = await place(t)
  const failing = send({ to: 'ann@example.org' }, () => {
    throw new Error('the page failed')
  })
  await t.rejects(failing, { message: 'the page failed' })
  t.strictSame(server.recipients(), ['ann@example.org'])
})

t.test('who did not get it is named, with the reply; the others have it', async t => {
  const { server, send } = await place(t, {
    rcpt: to =>
      to.startsWith('no') ? '550 5.1.1 no such user' : to.startsWith('later') ? '450 4.2.1 later' : undefined,
  })
  const sent = send({ to: ['ann@example.org', 'no@example.org', 'later@example.org'] })
  await t.rejects(sent, {
    code: 'NOT_DELIVERED',
    message: /no@example\.org: 550 5\.1\.1 no such user \(rcpt\); later@example\.org: 450 4\.2\.1 later \(rcpt\)/,
  })
  t.strictSame(server.recipients(), ['ann@example.org'])
})

t.test('a server that refuses the message, or hangs up after it, is an error', async t => {
  const refusing = await place(t, { dot: () => '554 5.7.1 no' })
  await t.rejects(refusing.send({ to: 'ann@example.org' }), { code: 'NOT_DELIVERED', message: /554 5\.7\.1 no/ })
  const silent = await sender(t, await freePort())
  await t.rejects(silent.send({ to: 'ann@example.org' }), { code: 'NOT_DELIVERED', message: /ECONNREFUSED/ })
})

t.test('250 recipients are three transactions', async t => {
  const { server, send } = await place(t)
  const to = Array.from({ length: 250 }, (_, i) => `r${i}@example.org`)
  await send({ to })
  t.strictSame(
    server.messages.map(message => message.to.length),
    [100, 100, 50],
  )
  t.strictSame(server.recipients(), to.sort())
})

t.test('DEBUG_RECEIVER and capture are respected', async t => {
  const debug = await place(t, {}, 'DEBUG_RECEIVER=dev@example.org')
  await debug.send({ to: 'ann@example.org' })
  t.strictSame(debug.server.recipients(), ['dev@example.org'])
  const box = join(await directory(t), 'box')
  const captured = await place(t, {}, `MAILDROP_CAPTURE=maildir:${box}`)
  await captured.send({ to: 'ann@example.org' })
  t.strictSame(captured.server.messages, [])
  t.equal(readdirSync(join(box, 'new')).length, 1)
})

t.test('what needs the transaction is refused', async t => {
  const { server, send } = await place(t)
  const to = 'ann@example.org'
  await t.rejects(send({ to, key: 'order-1' }), { code: 'INVALID_ARGUMENT', message: /^immediate: .* key/ })
  await t.rejects(send({ to, sendAt: new Date(Date.now() + 1e6) }), { code: 'INVALID_ARGUMENT', message: /sendAt/ })
  await t.rejects(send({ to, immediate: 'yes' as never }), { code: 'INVALID_ARGUMENT', message: /true or false/ })
  await t.rejects(send({ to: 'not an address' }), { code: 'BAD_ADDRESS', message: /To: expected an address/ })
  t.strictSame(server.messages, [])
})
