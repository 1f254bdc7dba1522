/** Limits of a mail host: what is beyond them is refused at send, before anything is spooled. */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { File, setProperty, Template } from '../../objects/index.ts'
import { codeOf } from '../support/database.ts'
import { hostOf, mailDatabase, messageOf } from '../support/mail-database.ts'

const recipients = (n: number) => Array.from({ length: n }, (_, i) => `r${i}@example.org`)
const MESSAGE = { from: 'a@example.org', subject: 'x', text: 'x' }

t.test('more recipients than the host allows are refused, the same one twice is one', async t => {
  const { db, home, mails } = await mailDatabase(t)
  await db.transact(app => {
    const refusal = { code: 'INVALID_ARGUMENT', message: /set from a text, found number/ }
    t.throws(() => setProperty(hostOf(app), 'maxRecipients', 3 as unknown as string), refusal)
    setProperty(hostOf(app), 'maxRecipients', '3')
  })
  const send = (to: string[]) => db.transact(app => hostOf(app).send(MESSAGE, { to }))
  await t.rejects(send(recipients(4)), {
    code: 'TOO_MANY_RECIPIENTS',
    message: /has 4 recipients; its mail host allows 3/,
  })
  t.notOk(existsSync(join(home, 'spool')), 'nothing was spooled')
  await send([...recipients(3), 'r1@example.org'])
  const headers =
    'From: a@example.org\nTo: r0@example.org\nCc: r1@example.org, r2@example.org\nBcc: r3@example.org\n\nx'
  t.equal(await codeOf(() => db.transact(app => hostOf(app).send(headers))), 'TOO_MANY_RECIPIENTS')
  t.equal((await mails()).length, 1)
})

t.test('a message of more bytes than the host allows is refused: what counts is what would be sent', async t => {
  const { db, home, mails } = await mailDatabase(t)
  const send = (text: string) => db.transact(app => hostOf(app).send({ ...MESSAGE, text }, { to: 'b@example.org' }))
  await send('0123456789')
  const size = Buffer.byteLength(messageOf((await mails())[0]!))
  await db.transact(app => setProperty(hostOf(app), 'maxSize', `${size}`))
  await send('9876543210')
  await t.rejects(send('01234567890'), { code: 'TOO_LARGE', message: new RegExp(`has ${size + 1} bytes .* ${size} `) })
  const attached = async () =>
    db.transact(async app => {
      const content = app.create('/file', new File())
      await content.write(Buffer.alloc(200_000))
      await hostOf(app).send({ ...MESSAGE, attachments: [{ filename: 'a', content }] }, { to: 'b@example.org' })
    })
  t.equal(await codeOf(attached), 'TOO_LARGE')
  t.equal((await mails()).length, 2)
  t.same(readdirSync(join(home, 'spool', '.held')), [])
})

t.test('hosts that are not transactional, sendmail blocks and previews have the same limits', async t => {
  const { db, mails } = await mailDatabase(t)
  const source = '<<#sendmail "XYZ" mailto=to mailfrom="a@example.org">>\nx<</sendmail>>'
  await db.transact(app => {
    Object.assign(hostOf(app), { maxRecipients: 1, transactional: false })
    app.create('/mail/page', new Template(source))
  })
  const to = recipients(2)
  const render = () => db.transact(app => app.traverse('/mail/page', Template).render({ to }))
  await t.rejects(render(), {
    code: 'MAIL_REFUSED',
    message: /^\/mail\/page:1:1: /,
    cause: { code: 'TOO_MANY_RECIPIENTS' },
  })
  t.equal(await codeOf(() => db.transact(app => hostOf(app).send(MESSAGE, { to }))), 'TOO_MANY_RECIPIENTS')
  t.equal(await codeOf(() => db.transact(app => hostOf(app).compose(MESSAGE, { to }))), 'TOO_MANY_RECIPIENTS')
  t.same(await mails(), [])
})

t.test('a limit is a number: anything else is refused when it is set from text, and at send', async t => {
  const { db } = await mailDatabase(t)
  for (const text of ['-1', '1.5', 'many', '100001'])
    t.equal(await codeOf(() => db.transact(app => setProperty(hostOf(app), 'maxRecipients', text))), 'INVALID_ARGUMENT')
  const send = (maxSize: unknown) =>
    db.transact(app => {
      Reflect.set(hostOf(app), 'maxSize', maxSize)
      return hostOf(app).send(MESSAGE, { to: 'b@example.org' })
    })
  for (const wrong of ['10', -1, Number.NaN, undefined]) t.equal(await codeOf(() => send(wrong)), 'INVALID_ARGUMENT')
  t.equal(await codeOf(() => send(0)), undefined)
})
