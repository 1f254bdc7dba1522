/** Files of the tree, and mail that carries them. */
import { join } from 'node:path'
import { simpleParser } from 'mailparser'
import t, { type Test } from 'tap'
import { type Application, type Database, File, MaildropHost, openDatabase, Template } from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { newLevel } from '../support/database.ts'
import { mailsIn } from '../support/maildrop.ts'
import { directory } from '../support/program.ts'

async function shop(t: Test): Promise<{ db: Database<Application>; sent: () => Promise<string[]> }> {
  const home = await directory(t)
  process.env.MAILDROP_HOME = home
  const db = await openDatabase(newLevel())
  t.teardown(() => db.close())
  await db.transact(async app => {
    app.create('/mail/XYZ', new MaildropHost(), { parents: true })
    const logo = app.create('/shop/logo.png', new File({ title: 'Our logo' }), { parents: true })
    await logo.write(Buffer.of(0x89, 0x50))
    const terms = app.create('/shop/terms', new File({ mediaType: 'text/plain' }))
    await terms.write('Grüße')
  })
  return {
    db,
    async sent() {
      await mailSystemOf(db).publisher.settled()
      return mailsIn(join(home, 'spool')).map(file => file.replace(/^(##.*\n)+/, ''))
    },
  }
}

t.test('a file keeps its content, its type and its title', async t => {
  const { db } = await shop(t)
  await db.transact(async app => {
    const terms = app.traverse('/shop/terms', File)
    t.equal((await terms.bytes()).toString(), 'Grüße')
    t.match(terms, { size: 7, mediaType: 'text/plain', title: '' })
    t.equal(app.traverse('/shop/logo.png', File).title, 'Our logo')
  })
})

t.test('a mail carries files of the tree, by name, by path or as values', async t => {
  const { db, sent } = await shop(t)
  await db.transact(async app => {
    const page = app.create(
      '/shop/page',
      new Template(`<<#sendmail "/mail/XYZ" mailto="ann@example.org" mailfrom="me@example.org" subject="Files">>
<<#mime>>
  <<#mime type="related">>
    <<#part type="text/html">><img src="cid:logo"><</part>>
    <<attach file="logo.png" cid="logo" disposition="inline">>
  <</mime>>
  <<attach file="/shop/terms" filename="terms.txt">>
  <<attach file>>
<</mime>>
<</sendmail>>`),
    )
    const file = app.create('/shop/invoice', new File({ mediaType: 'application/pdf' }))
    await file.write('%PDF')
    await page.render({ file })
  })
  const [mail, ...more] = await sent()
  t.same(more, [])
  const { attachments } = await simpleParser(mail!)
  t.same(
    attachments.map(({ filename, contentType, content, cid }) => [
      filename,
      contentType,
      content.toString('latin1'),
      cid,
    ]),
    [
      ['logo.png', 'image/png', '\x89P', 'logo'],
      ['terms.txt', 'text/plain', 'GrÃ¼Ã\x9fe', undefined],
      ['invoice', 'application/pdf', '%PDF', undefined],
    ],
  )
})

t.test('a message object carries files and blobs as attachments', async t => {
  const { db, sent } = await shop(t)
  await db.transact(async app => {
    const logo = app.traverse('/shop/logo.png', File)
    await app.traverse('/mail/XYZ', MaildropHost).send({
      from: 'me@example.org',
      to: 'ann@example.org',
      text: 'See the logo.',
      attachments: [{ content: logo }, { content: logo, filename: 'other.gif', contentType: 'image/gif' }],
    })
  })
  const { attachments } = await simpleParser((await sent())[0]!)
  t.same(
    attachments.map(({ filename, contentType, size }) => [filename, contentType, size]),
    [
      ['logo.png', 'image/png', 2],
      ['other.gif', 'image/gif', 2],
    ],
  )
})

t.test('a page whose file is missing, or no file, sends nothing', async t => {
  const { db, sent } = await shop(t)
  const page = (what: string) =>
    `<<#sendmail "/mail/XYZ" mailto="a@b.c" mailfrom="a@b.c">>\n<<#mime>><<attach ${what}>><</mime>>\n<</sendmail>>`
  for (const [what, expected] of [
    ['file="gone.png"', { code: 'NO_FILE' }],
    ['file="/mail/XYZ"', { code: 'MAIL_REFUSED', message: /expected text, bytes, or a File or Blob/ }],
  ] as const)
    await t.rejects(
      db.transact(app => app.create('/shop/bad', new Template(page(what))).render()),
      expected,
    )
  t.same(await sent(), [])
})
