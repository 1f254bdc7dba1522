/** Idempotency keys: at most one message for each key and mail host, for as long as the host remembers. */
import t from 'tap'
import { entryOf } from '../../lib/registry.ts'
import {
  type Application,
  MaildropHost,
  openDatabase,
  registerClass,
  type SendOptions,
  setProperty,
  Template,
} from '../../objects/index.ts'
import { type SentKeys, sentKeysOf } from '../../objects/sent-keys.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { hostOf, mailDatabase } from '../support/mail-database.ts'
import { directory } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

const MESSAGE = 'From: a@example.org\nTo: b@example.org\nSubject: Hello\n\nThe text.\n'
const DAY = 86_400_000

const sendTo = (app: Application, key: string, subject = key, options: SendOptions = {}) =>
  hostOf(app).send(MESSAGE, { key, subject, ...options })

t.test('a repeated request sends once, and is told the first message', async t => {
  const { db, messages } = await mailDatabase(t)
  const request = (subject: string) => db.transact(app => sendTo(app, 'order-7', subject))
  const first = await request('first')
  t.equal(await request('second'), first)
  t.not(await db.transact(app => sendTo(app, 'order-8')), first)
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['first', 'order-8'],
  )
  t.equal((await messages())[0]?.messageId, first)
})

t.test('two sends of one transaction send once, also when nobody waits for the first', async t => {
  const { db, messages } = await mailDatabase(t)
  const ids = await db.transact(app => Promise.all(['one', 'two', 'three'].map(subject => sendTo(app, 'key', subject))))
  t.equal(new Set(ids).size, 1)
  await db.transact(app => {
    void sendTo(app, 'other', 'unawaited')
    void sendTo(app, 'other', 'unawaited, too')
  })
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['one', 'unawaited'],
  )
})

t.test('what could not be composed has not used its key', async t => {
  const { db, messages } = await mailDatabase(t)
  await db.transact(async app => {
    const wrong = sendTo(app, 'key', 'wrong', { to: 'no address' })
    const also = sendTo(app, 'key', 'also wrong', { to: 'no address either' })
    const right = sendTo(app, 'key', 'right')
    t.equal(await codeOf(() => wrong), 'BAD_ADDRESS')
    t.equal(await codeOf(() => also), 'BAD_ADDRESS')
    await right
  })
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['right'],
  )
})

t.test('an abort, an error, a rollback and an undo forget the key', async t => {
  const { db, messages } = await mailDatabase(t)
  await t.rejects(
    db.transact(async app => {
      await sendTo(app, 'failed')
      throw new Error('the page failed')
    }),
  )
  const connection = db.open()
  await sendTo(connection.root as Application, 'aborted')
  await connection.transaction.abort()
  connection.close()
  await db.transact(async (app, tx) => {
    await sendTo(app, 'kept')
    const savepoint = tx.savepoint()
    await sendTo(app, 'rolled back', 'lost')
    savepoint.rollback()
  })
  await db.transact(async (app, tx) => {
    const savepoint = tx.savepoint()
    await sendTo(app, 'rolled back', 'lost again')
    savepoint.rollback()
    await sendTo(app, 'rolled back', 'sent')
    await sendTo(app, 'kept', 'not again')
  })
  for (const key of ['failed', 'aborted', 'rolled back']) await db.transact(app => sendTo(app, key, `${key}, later`))
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['kept', 'sent', 'failed, later', 'aborted, later'],
  )
  const [last] = await db.undoLog({ last: 1 })
  await db.undo(last!.tid)
  await db.transact(app => sendTo(app, 'aborted', 'after undo'))
  t.equal((await messages()).at(-1)?.subject, 'after undo')
})

t.test('of concurrent transactions with one key one sends, the others conflict, run again and find it', async t => {
  for (const known of [false, true]) {
    const { db, messages } = await mailDatabase(t)
    if (known) await db.transact(app => sendTo(app, 'before'))
    let runs = 0
    let arrived = 0
    const request = (n: number) =>
      db.transact(async app => {
        const id = await sendTo(app, 'same', `request ${n}`)
        if (runs++ < 5) {
          arrived += 1
          await waitFor('the others', () => arrived === 5)
        }
        return id
      })
    const ids = await Promise.all([1, 2, 3, 4, 5].map(request))
    t.equal(new Set(ids).size, 1)
    t.ok(runs > 5, `there were conflicts: ${runs} runs`)
    t.equal((await messages()).filter(({ subject }) => subject?.startsWith('request')).length, 1)
    const [one] = (await messages()).slice(-1)
    t.equal(one?.messageId, ids[0])
  }
})

t.test('50 concurrent transactions with keys of their own all commit with the default attempts', async t => {
  const { db, messages } = await mailDatabase(t)
  await Promise.all(Array.from({ length: 50 }, (_, n) => db.transact(app => sendTo(app, `key ${n}`))))
  t.equal((await messages()).length, 50)
  await Promise.all(Array.from({ length: 50 }, (_, n) => db.transact(app => sendTo(app, `key ${n}`))))
  t.equal((await messages()).length, 50)
})

t.test('each mail host has keys of its own, and so has a copy', async t => {
  const { db, mails } = await mailDatabase(t)
  await db.transact(app => sendTo(app, 'key'))
  await db.transact(async app => {
    await app.create('/other', new MaildropHost()).send(MESSAGE, { key: 'key' })
    await app.traverse('/other', MaildropHost).send(MESSAGE, { key: 'key' })
    app.copy('other', app, 'copied')
  })
  await db.transact(async app => {
    await app.traverse('/copied', MaildropHost).send(MESSAGE, { key: 'key' })
    await app.traverse('/other', MaildropHost).send(MESSAGE, { key: 'key' })
  })
  t.equal((await mails()).length, 3)
})

t.test('keys survive a restart, and packing', async t => {
  process.env.MAILDROP_HOME = await directory(t)
  const home = await directory(t)
  const before = await openDatabase(home)
  const id = await before.transact(app =>
    app.create('/mail/XYZ', new MaildropHost(), { parents: true }).send(MESSAGE, { key: 'k' }),
  )
  await before.pack()
  await before.close()
  const after = await openDatabase(home)
  t.equal(await after.transact(app => sendTo(app, 'k')), id)
  await after.close()
})

t.test('a key counts for as long as the host remembers, and is removed after that', async t => {
  const { db, mails } = await mailDatabase(t)
  const true_ = Date.now
  t.teardown(() => {
    Date.now = true_
  })
  const at = (days: number) => {
    Date.now = () => true_() + days * DAY
  }
  const size = () => db.transact(app => (sentKeysOf(app) as SentKeys).size)
  await db.transact(app => setProperty(hostOf(app), 'keyAge', '3'))
  await db.transact(async app => {
    for (let n = 0; n < 600; n++) await sendTo(app, `key ${n}`)
  })
  t.equal((await mails()).length, 600)
  at(2.9)
  await db.transact(app => sendTo(app, 'key 1'))
  t.equal((await mails()).length, 600, 'it still counts')
  at(3.01)
  await db.transact(app => sendTo(app, 'key 1'))
  t.equal((await mails()).length, 601, 'it does not count any more')
  await db.transact(app => sendTo(app, 'key 1'))
  t.equal((await mails()).length, 601, 'it was entered anew')
  t.equal(await size(), 600, 'before its day is over nothing is removed')
  at(5)
  await db.transact(app => sendTo(app, 'one more'))
  await waitFor('the expiry', async () => (await size()) === 2)
  await db.transact(app => sendTo(app, 'key 1'))
  t.equal((await mails()).length, 602, 'a key that was entered anew counts from then on')
})

t.test('a database may be closed while keys are being removed', async t => {
  process.env.MAILDROP_HOME = await directory(t)
  const db = await openDatabase(newLevel())
  const true_ = Date.now
  t.teardown(() => {
    Date.now = true_
  })
  Date.now = () => true_() - 30 * DAY
  await db.transact(async app => {
    const host = app.create('/mail/XYZ', new MaildropHost(), { parents: true })
    for (let n = 0; n < 600; n++) await host.send(MESSAGE, { key: `${n}` })
  })
  Date.now = true_
  const warnings: Error[] = []
  const listen = (warning: Error) => warnings.push(warning)
  process.on('warning', listen)
  await db.transact(app => sendTo(app, 'now'))
  await db.close()
  process.off('warning', listen)
  t.same(warnings, [])
})

t.test('keys of another form, and hosts that cannot remember, are refused', async t => {
  const { db, mails } = await mailDatabase(t)
  for (const key of ['', 'x'.repeat(201), 'a\nb', 'a\u0000', '\ud800', 7, null, {}]) {
    const send = db.transact(app => hostOf(app).send(MESSAGE, { key } as SendOptions))
    await t.rejects(
      send,
      { code: 'INVALID_ARGUMENT', message: /^key: expected 1 to 200 characters/ },
      JSON.stringify(key),
    )
  }
  await db.transact(app => hostOf(app).send(MESSAGE, { key: `ä ${'x'.repeat(198)}` }))
  const once = () =>
    db.transact(app => {
      hostOf(app).transactional = false
      return sendTo(app, 'key')
    })
  await t.rejects(once(), { code: 'INVALID_ARGUMENT', message: /^key: \/mail\/XYZ is not transactional/ })
  await t.rejects(
    db.transact(app => setProperty(hostOf(app), 'keyAge', '0')),
    { message: /a whole number from 1 to 36500, found "0"/ },
  )
  const strange = () =>
    db.transact(app => {
      hostOf(app).keyAge = Number.NaN
      return sendTo(app, 'key')
    })
  await t.rejects(strange(), { code: 'INVALID_ARGUMENT', message: /'keyAge' of \/mail\/XYZ must be .* found NaN/ })
  t.equal((await mails()).length, 1)
})

t.test('a sendmail block has the attribute key', async t => {
  const { db, messages } = await mailDatabase(t)
  const source =
    '<<#sendmail "XYZ" mailto="b@example.org" mailfrom="a@example.org" subject=name key=(concat "order-" id)>>\nx<</sendmail>>'
  await db.transact(app => {
    app.create('/mail/page', new Template(source))
    app.create('/mail/keyless', new Template(source.replace('(concat "order-" id)', 'missing')))
  })
  const render = (path: string, data: object) =>
    db.transact(app => app.traverse(path, Template).render(data as Record<string, unknown>))
  await render('/mail/page', { id: 7, name: 'first' })
  await render('/mail/page', { id: 7, name: 'again' })
  await render('/mail/page', { id: 8, name: 'another' })
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['first', 'another'],
  )
  await t.rejects(render('/mail/keyless', {}), {
    code: 'TEMPLATE_RENDER',
    message: /^\/mail\/keyless:1:1: sendmail: key: /,
  })
  const long = { id: 'x'.repeat(300) }
  await t.rejects(render('/mail/page', long), {
    code: 'MAIL_REFUSED',
    message: /^\/mail\/page:1:1: sendmail: key: expected 1 to 200/,
  })
})

t.test('the keys stand in no listing', async t => {
  const { db } = await mailDatabase(t)
  await db.transact(app => sendTo(app, 'key'))
  t.same(await db.transact(app => app.ids()), ['mail'])
  t.same((await db.verify()).problems, [])
})

t.test('a host of before there were keys remembers as new ones do', async t => {
  const { db, mails } = await mailDatabase(t)
  const { version, upgrade } = entryOf(MaildropHost)!
  registerClass('MaildropHost', MaildropHost)
  await db.transact(app => {
    const host = app.create('/old', new MaildropHost({ title: 'old' }))
    for (const name of ['keyAge', 'configPath']) Reflect.deleteProperty(host, name)
  })
  registerClass('MaildropHost', MaildropHost, { version, upgrade: upgrade! })
  await db.transact(async app => {
    const old = app.traverse('/old', MaildropHost)
    t.match(old, { title: 'old', keyAge: 7, configPath: '' })
    await old.send(MESSAGE, { key: 'k' })
    await old.send(MESSAGE, { key: 'k' })
  })
  t.equal((await mails()).length, 1)
})
