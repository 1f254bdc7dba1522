/** Templates in the tree and on disk, with partials and mail hosts acquired from where they stand. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import Handlebars from 'handlebars'
import t, { type Test } from 'tap'
import {
  type Application,
  type Database,
  Folder,
  MaildropHost,
  openDatabase,
  Persistent,
  registerClass,
  renderFile,
  Template,
} from '../../objects/index.ts'
import { mailSystemOf } from '../../objects/mail-system.ts'
import { newLevel } from '../support/database.ts'
import { mailsIn } from '../support/maildrop.ts'
import { directory } from '../support/program.ts'

class Customer extends Persistent {
  name: string
  orders: { item: string }[] = []
  constructor(name: string) {
    super()
    this.name = name
  }
  get shout(): string {
    return this.name.toUpperCase()
  }
}
registerClass('tests.Customer', Customer)

const MAIL =
  '<<#sendmail mailhost="XYZ" mailto="ann@example.org" mailfrom="me@example.org" subject=name>>\nHi\n<</sendmail>>'

interface Place {
  readonly db: Database<Application>
  readonly home: string
  /** The subjects of the mails in the spool, sorted. */
  sent(): Promise<string[]>
}

async function place(t: Test): Promise<Place> {
  const home = await directory(t)
  process.env.MAILDROP_HOME = home
  const db = await openDatabase(newLevel())
  t.teardown(() => db.close())
  return {
    db,
    home,
    async sent() {
      await mailSystemOf(db).publisher.settled()
      const mails = mailsIn(join(home, 'spool'))
      return mails.map(mail => /^Subject: (.*?)\r?$/m.exec(mail)?.[1] ?? '').sort()
    },
  }
}

t.test('a template of the tree renders, escaped as its content type asks', async t => {
  const { db } = await place(t)
  await db.transact(app => {
    app.create('/html', new Template('<b><<name>></b>'))
    app.create('/text', new Template('<<name>>', { contentType: 'text/plain' }))
  })
  const render = (path: string) => db.transact(app => app.traverse(path, Template).render({ name: '<&>' }))
  t.equal(await render('/html'), '<b>&lt;&amp;&gt;</b>')
  t.equal(await render('/text'), '<&>')
})

t.test('a changed source is what is rendered next, in this connection and in others', async t => {
  const { db } = await place(t)
  await db.transact(app => app.create('/page', new Template('one')))
  const page = (app: Application) => app.traverse('/page', Template)
  await db.transact(async app => {
    t.equal(await page(app).render(), 'one')
    page(app).source = 'two'
    t.equal(await page(app).render(), 'two')
  })
  t.equal(await db.transact(app => page(app).render()), 'two')
  await t.rejects(
    db.transact(async app => {
      page(app).source = 'three'
      t.equal(await page(app).render(), 'three')
      throw new Error('no')
    }),
  )
  t.equal(await db.transact(app => page(app).render()), 'two')
})

t.test('a source is parsed once, for all templates and connections that have it', async t => {
  const { db } = await place(t)
  const { parse } = Handlebars
  let parsed = 0
  t.teardown(() => {
    Handlebars.parse = parse
  })
  Handlebars.parse = (...args) => {
    parsed += 1
    return parse(...args)
  }
  const source = `<<n>> of ${Math.random()}`
  await db.transact(app => app.create('/page', new Template(source)))
  await db.transact(app => app.create('/same', new Template(source)))
  const connection = db.open()
  for (let n = 0; n < 5; n++) {
    t.match(await (connection.root as Application).traverse('/page', Template).render({ n }), `${n} of 0.`)
    t.match(await db.transact(app => app.traverse('/same', Template).render({ n })), `${n} of 0.`)
  }
  connection.close()
  t.equal(parsed, 1)
})

t.test('layouts are partials with a block, in the tree and on disk', async t => {
  const { db, home } = await place(t)
  const layout = '<html><<title>>: <<> @partial-block>></html>'
  const page = '<<#> layout title="Shop">><b><<name>></b><</layout>>'
  await db.transact(app => {
    app.create('/layout', new Template(layout))
    app.create('/shop/page', new Template(page), { parents: true })
  })
  const expected = '<html>Shop: <b>&lt;</b></html>'
  t.equal(await db.transact(app => app.traverse('/shop/page', Template).render({ name: '<' })), expected)
  await writeFile(join(home, 'layout.hbs'), layout)
  await writeFile(join(home, 'page.hbs'), page)
  t.equal(await renderFile(join(home, 'page.hbs'), { name: '<' }), expected)
})

t.test('partials are acquired from the template outward, or from the context', async t => {
  const { db } = await place(t)
  await db.transact(app => {
    app.create('/footer', new Template('root'))
    app.create('/shop/footer', new Template('shop'), { parents: true })
    app.create('/shop/de/page', new Template('<<> footer>>'), { parents: true })
    app.create('/other/page', new Template('<<> footer>>'), { parents: true })
    app.create('/lone', new Template('<<> nowhere>>'))
  })
  const render = (path: string, context?: string) =>
    db.transact(app => app.traverse(path, Template).render({}, context ? { context: app.traverse(context) } : {}))
  t.equal(await render('/shop/de/page'), 'shop')
  t.equal(await render('/other/page'), 'root')
  t.equal(await render('/other/page', '/shop/de'), 'shop')
  await t.rejects(render('/lone'), { message: /^\/lone:1:\d+: .*nowhere/ })
})

t.test('the nearest mail host is acquired', async t => {
  const { db, home, sent } = await place(t)
  await db.transact(app => {
    app.create('/XYZ', new MaildropHost())
    app.create('/shop/XYZ', new Folder(), { parents: true })
    app.create('/shop/page', new Template(MAIL))
    app.create('/page', new Template(MAIL))
    app.create('/deep/er/page', new Template(MAIL), { parents: true })
  })
  const render = (path: string, name: string) => db.transact(app => app.traverse(path, Template).render({ name }))
  t.equal(await render('/page', 'from the root'), '')
  await render('/deep/er/page', 'from below')
  await t.rejects(render('/shop/page', 'hidden'), { message: /\/shop\/page:1:\d+: .*XYZ.*Folder/ })
  await writeFile(join(home, 'page.hbs'), `<p>${MAIL}`)
  const file = await db.transact(app =>
    renderFile(join(home, 'page.hbs'), { name: 'file' }, { context: app.traverse('/deep') }),
  )
  t.equal(file, '<p>')
  await t.rejects(renderFile(join(home, 'page.hbs'), { name: 'no context' }), { message: /page\.hbs:1:\d+: .*XYZ/ })
  t.same(await sent(), ['file', 'from below', 'from the root'])
})

t.test('persistent objects are data: their own attributes, loaded when read, and nothing of their class', async t => {
  const { db } = await place(t)
  await db.transact(app => {
    const customer = new Customer('Ann')
    customer.orders.push({ item: 'Tea' })
    app.create('/customer', customer)
    app.create(
      '/page',
      new Template('<<c.name>>|<<#each c.orders>><<item>><</each>>|<<c.shout>><<c.constructor>><<c._p_oid>>'),
    )
  })
  const page = await db.transact(app => app.traverse('/page', Template).render({ c: app.traverse('/customer') }))
  t.equal(page, 'Ann|Tea|')
})

t.test('mail of a page is sent once if its transaction commits, and never otherwise', async t => {
  const { db, sent } = await place(t)
  await db.transact(app => {
    app.create('/XYZ', new MaildropHost())
    app.create('/page', new Template(MAIL))
    app.create('/failing', new Template(`${MAIL}<<> missing>>`))
  })
  const page = (app: Application) => app.traverse('/page', Template)
  await t.rejects(db.transact(app => app.traverse('/failing', Template).render({ name: 'failing page' })))
  await db.transact(async (app, tx) => {
    await page(app).render({ name: 'kept' })
    const savepoint = tx.savepoint()
    await page(app).render({ name: 'rolled back' })
    savepoint.rollback()
  })
  let attempts = 0
  await db.transact(async app => {
    attempts += 1
    app.title = `attempt ${attempts}`
    await page(app).render({ name: `attempt ${attempts}` })
    if (attempts === 1)
      await db.transact(other => {
        other.title = 'meanwhile'
      })
  })
  t.equal(attempts, 2)
  t.same(await sent(), ['attempt 2', 'kept'])
})

t.test('what is no template is refused when it is set, at its place, and nothing changes', async t => {
  const { db } = await place(t)
  const page = (app: Application) => app.traverse('/shop/page', Template)
  await db.transact(app =>
    app.create('/shop/page', new Template('good', { contentType: 'text/plain' }), { parents: true }),
  )
  const cases: [string, string, RegExp][] = [
    ['one\n  <<#if x>>\nopen', 'TEMPLATE_SYNTAX', /^\/shop\/page:2:3: the block .if. is never closed: [^\n]+$/],
    ['<<#sendmail>>x<</sendmail>>', 'NO_MAIL_HOST', /^\/shop\/page:1:1: /],
    ['<<nothelper 1>>', 'TEMPLATE_SYNTAX', /^\/shop\/page:1:1: there is no helper 'nothelper'/],
  ]
  for (const [source, code, message] of cases)
    await t.rejects(
      db.transact(app => {
        page(app).source = source
      }),
      { code, message },
    )
  t.throws(() => new Template('\n<<#if>>'), { message: /^template:2:\d+: / })
  t.throws(() => new Template(7 as unknown as string), { code: 'INVALID_ARGUMENT' })
  t.equal(await db.transact(app => page(app).render()), 'good')
})

t.test('what a template uses may come and go: an error names its path, line and column', async t => {
  const { db } = await place(t)
  await db.transact(app => app.create('/shop/page', new Template('one\n  <<> gone>>'), { parents: true }))
  await t.rejects(
    db.transact(app => app.traverse('/shop/page', Template).render()),
    { code: 'NO_PARTIAL', message: "/shop/page:2:3: there is no partial 'gone'" },
  )
})

t.test('an earlier source of a template can be read, and taken back', async t => {
  const { db } = await place(t)
  const page = (app: Application) => app.traverse('/shop/page', Template)
  await db.transact(app => app.create('/shop/page', new Template('one'), { parents: true }))
  await db.transact(
    app => {
      page(app).source = 'two'
    },
    { note: 'rewritten' },
  )
  const [last, first] = await db.history('/shop/page')
  t.equal(last?.note, 'rewritten')
  const past = db.open({ at: first!.tid })
  t.equal(await page(past.root as Application).render(), 'one')
  past.close()
  await db.undo(last!.tid)
  t.equal(await db.transact(app => page(app).render()), 'one')
})
