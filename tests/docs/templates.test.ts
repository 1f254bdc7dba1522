/** The examples of docs/templates.md: each renders, and sends, what stands beside it. */
import t from 'tap'
import { File, MaildropHost, openDatabase, preview, Template } from '../../objects/index.ts'
import { newLevel } from '../support/database.ts'
import { examplesIn, shownMail } from '../support/guide.ts'
import { hostOf, mailDatabase, messageOf } from '../support/mail-database.ts'

const examples = examplesIn('templates.md', 'hbs')

/** Intl uses several kinds of blanks. */
const plainBlanks = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')

for (const { line, source, below } of examples)
  t.test(`the example at line ${line}`, async t => {
    const db = await openDatabase(newLevel())
    t.teardown(() => db.close())
    const { messages, deliver } = preview()
    const data = JSON.parse(below.json ?? '{}')
    const rendered = await db.transact(async app => {
      app.create('/shop/XYZ', new MaildropHost(), { parents: true })
      await app.create('/shop/logo.png', new File()).write(Buffer.of(0x89, 0x50))
      return await app.create('/shop/page', new Template(source)).render(data, { deliver })
    })
    if (below.html !== undefined) t.equal(plainBlanks(rendered), below.html)
    else t.equal(rendered.trim(), '')
    const shown = messages.map(({ content }) => shownMail(content))
    t.strictSame(shown, below.mail === undefined ? [] : [{ text: below.mail, defects: [] }])
  })

for (const { line, source, below } of examplesIn('templates.md', 'hbs message'))
  t.test(`the message at line ${line}`, async t => {
    const { db, mails } = await mailDatabase(t)
    const template = await db.transact(app => app.create('/mail/welcome', new Template(source)).physicalPath)
    await db.transact(app => hostOf(app).sendTemplate(template, JSON.parse(below.json ?? '{}')))
    const shown = (await mails()).map(mail => shownMail(Buffer.from(messageOf(mail))))
    t.strictSame(shown, [{ text: below.mail, defects: [] }])
  })

t.test('there are examples', async t => {
  t.ok(examples.length >= 9, `${examples.length} examples were found`)
})
