/** Templates that are messages, and messages that are sent later. */
import t from 'tap'
import { Folder, MaildropHost, Template } from '../../objects/index.ts'
import { codeOf } from '../support/database.ts'
import { hostOf, mailDatabase } from '../support/mail-database.ts'

const TEXT = `From: "The shop" <shop@example.org>
To: <<user.name>> <<<user.email>>>
Subject: Order <<number>> for <<user.name>>
X-Order: <<number>>

Dear <<user.name>>,
<<> footer>>
`
const DATA = { user: { name: "O'Brien & Söhne", email: 'ann@example.org' }, number: 7 }

t.test('a template of text is a message: its headers, a blank line, its body', async t => {
  const { db, messages } = await mailDatabase(t)
  await db.transact(app => {
    app.create(
      '/shop/order',
      new Template(TEXT.replace('<<user.name>> <<<user.email>>>', '<<user.email>>'), { contentType: 'text/plain' }),
      { parents: true },
    )
    app.create('/shop/footer', new Template('-- \nThe <shop>'))
  })
  const id = await db.transact(app => hostOf(app).sendTemplate(app.traverse('/shop/order', Template), DATA))
  const [message] = await messages()
  t.equal(message?.messageId, id)
  t.equal(message?.subject, "Order 7 for O'Brien & Söhne")
  t.equal(message?.headers.get('x-order'), '7')
  t.match(message?.to, { text: 'ann@example.org' })
  t.equal(message?.text, "Dear O'Brien & Söhne,\n-- \nThe <shop>\n")
  t.equal(message?.html, false)
})

t.test('a template of HTML escapes its values, and gets a plain text beside it', async t => {
  const { db, messages } = await mailDatabase(t)
  await db.transact(app => app.create('/mail/page', new Template('<p>Note: Dear <<user.name>></p>')))
  const options = { to: 'ann@example.org', from: 'shop@example.org', subject: 'Hi' }
  await db.transact(async app => {
    await hostOf(app).sendTemplate('page', DATA, options)
    await hostOf(app).sendTemplate('page', DATA, { ...options, encode: 'base64', charset: 'iso-8859-1' })
    await hostOf(app).sendTemplate('page', DATA, { ...options, alternative: false })
    await hostOf(app).sendTemplate('page', DATA, { ...options, type: 'text/plain' })
  })
  const [both, encoded, alone, plain] = await messages()
  for (const message of [both, encoded]) {
    t.match(message?.headers.get('content-type'), { value: 'multipart/alternative' })
    t.equal(message?.html, '<p>Note: Dear O&#x27;Brien &amp; Söhne</p>\n')
    t.equal(message?.text, "Note: Dear O'Brien & Söhne\n")
  }
  t.match(alone?.headers.get('content-type'), { value: 'text/html' })
  t.equal(alone?.html, '<p>Note: Dear O&#x27;Brien &amp; Söhne</p>\n')
  t.match(plain?.headers.get('content-type'), { value: 'text/plain' })
  t.equal(plain?.text, "<p>Note: Dear O'Brien & Söhne</p>\n")
})

t.test('a template that declares its headers and HTML has both', async t => {
  const { db, messages } = await mailDatabase(t)
  const source = 'From: a@example.org\nSubject: <<s>>\nContent-Type: text/html; charset=iso-8859-1\n\n<b><<s>></b>'
  await db.transact(app => app.create('/mail/page', new Template(source, { contentType: 'text/plain' })))
  await db.transact(app => hostOf(app).sendTemplate('page', { s: 'ä<' }, { to: 'b@example.org' }))
  const [message] = await messages()
  t.equal(message?.subject, 'ä<')
  t.equal(message?.html, '<b>ä&lt;</b>\n', 'the header says what the values are escaped for')
})

t.test('mime blocks may be the whole body of a template', async t => {
  const { db, mails, messages } = await mailDatabase(t)
  const source =
    'To: <<to>>\nFrom: a@example.org\n\n<<#mime>><<#part type="text/html">><b><<name>></b><</part>><<attach csv filename="a.csv">><</mime>>'
  await db.transact(app => app.create('/mail/page', new Template(source)))
  const data = { to: ['b@example.org', 'c@example.org'], name: '<', csv: 'x;y' }
  await db.transact(app => hostOf(app).sendTemplate('/mail/page', data))
  const [message] = await messages()
  t.equal(message?.html, '<b>&lt;</b>\n')
  t.equal(message?.attachments[0]?.filename, 'a.csv')
  t.match((await mails())[0], '##To:b@example.org,c@example.org\n')
  const code = await codeOf(() => db.transact(app => hostOf(app).sendTemplate('page', data, { encode: 'base64' })))
  t.equal(code, 'BAD_ENCODING', 'an encoding that no part would have is refused')
})

t.test('a value can add no header and no recipient', async t => {
  const { db, mails, messages } = await mailDatabase(t)
  const source = 'From: a@example.org\nTo: "<<name>>" <b@example.org>\nSubject: <<name>>\n\n<<name>>\n'
  await db.transact(app => app.create('/mail/page', new Template(source, { contentType: 'text/plain' })))
  await db.transact(app => hostOf(app).sendTemplate('page', { name: 'x\r\nBcc: eve@example.org\r\n\r\nbody' }))
  const [mail] = await mails()
  t.match(mail, '##To:b@example.org\n')
  const [message] = await messages()
  t.match(message, { subject: 'x Bcc: eve@example.org body', text: 'x\nBcc: eve@example.org\n\nbody\n' })
  t.notOk(message?.headers.has('bcc'))
})

t.test('the nearest template is acquired, and a locale reaches its helpers', async t => {
  const { db, messages } = await mailDatabase(t)
  const source = 'From: a@example.org\nTo: b@example.org\nSubject: <<formatNumber n>>\n\n<<> footer>>'
  await db.transact(app => {
    app.create('/note', new Template(source, { contentType: 'text/plain' }))
    app.create('/footer', new Template('root'))
    app.create('/mail/footer', new Template('near the host'))
  })
  await db.transact(async app => {
    await hostOf(app).sendTemplate('note', { n: 1234.5 }, { locale: 'de' })
    await hostOf(app).sendTemplate('note', { n: 1234.5 }, { context: app.traverse('/mail', Folder) })
  })
  t.match(await messages(), [
    { subject: '1.234,5', text: 'root\n' },
    { subject: '1,234.5', text: 'near the host\n' },
  ])
})

t.test('what cannot be sent is refused, and nothing is', async t => {
  const { db, mails } = await mailDatabase(t)
  await db.transact(app => {
    app.create('/mail/broken', new Template('From: a@example.org\nTo: <<to>>\n\n<<> gone>>'))
    app.create('/mail/addressless', new Template('From: a@example.org\nTo: <<to>>\n\nx'))
    app.create('/mail/page', new Template('<<#sendmail "XYZ">>\n\nx<</sendmail>>'))
  })
  const cases: [string, unknown][] = [
    ['NO_PARTIAL', 'broken'],
    ['BAD_ADDRESS', 'addressless'],
    ['TEMPLATE_RENDER', 'page'],
    ['NOT_FOUND', 'nothing'],
    ['NOT_FOUND', '/mail/nothing'],
    ['WRONG_TYPE', 'XYZ'],
    ['WRONG_TYPE', undefined],
  ]
  for (const [code, template] of cases)
    t.equal(
      await codeOf(() => db.transact(app => hostOf(app).sendTemplate(template as string, { to: 'no address' }))),
      code,
      `${template}`,
    )
  t.equal(
    await codeOf(() => db.transact(app => hostOf(app).sendTemplate('addressless', {}, { too: 'x' } as object))),
    'INVALID_ARGUMENT',
  )
  t.same(await mails(), [])
})

t.test('it is part of the transaction', async t => {
  const { db, messages } = await mailDatabase(t)
  await db.transact(app =>
    app.create('/mail/page', new Template('From: a@example.org\nTo: b@example.org\nSubject: <<s>>\n\nx')),
  )
  await db.transact(async (app, tx) => {
    await hostOf(app).sendTemplate('page', { s: 'kept' })
    const savepoint = tx.savepoint()
    await hostOf(app).sendTemplate('page', { s: 'rolled back' })
    savepoint.rollback()
  })
  await t.rejects(
    db.transact(async app => {
      await hostOf(app).sendTemplate('page', { s: 'aborted' })
      throw new Error('no')
    }),
  )
  t.same(
    (await messages()).map(({ subject }) => subject),
    ['kept'],
  )
})

t.test('scheduledSend writes the time into the mail file, and needs one', async t => {
  const { db, mails } = await mailDatabase(t)
  const message = { from: 'a@example.org', to: 'b@example.org', text: 'x' }
  const sendAt = new Date(Date.now() + 3_600_000)
  await db.transact(app => hostOf(app).scheduledSend(message, { sendAt }))
  t.match(await mails(), [`##Not-Before:${sendAt.toISOString()}\n`])
  const without = () => db.transact(app => hostOf(app).scheduledSend(message, {} as { sendAt: Date }))
  t.equal(await codeOf(without), 'INVALID_ARGUMENT')
  t.equal(await codeOf(() => new MaildropHost().scheduledSend(message, { sendAt })), 'NOT_CONNECTED')
})
