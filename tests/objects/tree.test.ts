/** The tree: folders, paths, names, acquisition. */
import fc from 'fast-check'
import t from 'tap'
import { Application, Folder, MaildropHost, openDatabase, Persistent, registerClass } from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'

class Order extends Persistent {
  items: string[] = []
}
registerClass('Order', Order)

t.test('objects are created, found and typed by path', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    t.ok(app instanceof Application)
    const host = app.create('/mail/XYZ', new MaildropHost({ title: 'Outgoing' }), { parents: true })
    t.equal(host.physicalPath, '/mail/XYZ')
    app.create('/shop/orders/o1', new Order(), { parents: true })
  })
  await db.transact(app => {
    t.equal(app.physicalPath, '/')
    t.equal(app.traverse('/'), app)
    t.equal(app.traverse('/mail/XYZ', MaildropHost).title, 'Outgoing')
    const orders = app.traverse('/shop/orders', Folder)
    t.equal(orders.traverse('o1', Order), orders.get('o1'))
    t.equal(orders.traverse('../../mail/XYZ').physicalPath, '/mail/XYZ')
    t.equal(orders.traverse('/mail').physicalPath, '/mail')
    t.equal(orders.create('o2', new Order()).physicalPath, '/shop/orders/o2')
    t.same(orders.ids(), ['o1', 'o2'])
    t.equal(app.traverse('/shop//orders/./').physicalPath, '/shop/orders')
  })
  await db.close()
})

t.test('a path that leads nowhere says how far it leads', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => app.create('/shop/o1', new Order(), { parents: true }))
  const failures: [(app: Application) => unknown, string, RegExp][] = [
    [app => app.traverse('/shop/none/x'), 'NOT_FOUND', /'\/shop\/none\/x'.*\/shop has no object 'none'/],
    [app => app.traverse('/shop/o1/items'), 'NOT_FOUND', /\/shop\/o1 is not a container/],
    [app => app.traverse('/shop/o1', Folder), 'WRONG_TYPE', /is a Order, expected a Folder/],
    [app => app.traverse('/constructor'), 'NOT_FOUND', /no object 'constructor'/],
    [app => app.traverse('/__proto__'), 'NOT_FOUND', /no object '__proto__'/],
    [app => app.create('/a/b', new Order()), 'NOT_FOUND', /ask for parents/],
    [app => app.create('/shop/o1/x', new Order(), { parents: true }), 'WRONG_TYPE', /not a folder/],
    [app => app.create('/', new Order()), 'INVALID_ID', /names no object/],
    [app => app.create('/shop/o1', new Order()), 'DUPLICATE_ID', /\/shop has an object 'o1' already/],
  ]
  for (const [run, code, message] of failures) await t.rejects(db.transact(run), { code, message })
  await db.close()
})

t.test('names that would break paths or pages are refused', async t => {
  const folder = new Folder()
  for (const id of [
    '',
    '.',
    '..',
    '_x',
    'a/b',
    'a<b',
    'a>b',
    'a&b',
    'a\nb',
    'a\u0000',
    '\u0085',
    '\ud800',
    5,
    null,
    undefined,
  ])
    t.equal(await codeOf(() => folder.add(id as string, new Order())), 'INVALID_ID', JSON.stringify(id))
  for (const id of ['a b', 'ü', 'x.y', '-', 'constructor', '…']) folder.add(id, new Order())
  t.equal(folder.size, 6)
})

t.test('a folder knows its children, and they know it', async t => {
  const folder = new Folder()
  const [order, host] = [new Order(), new MaildropHost()]
  t.equal(folder.add('b', order), order)
  folder.add('a', host)
  t.same(folder.ids(), ['a', 'b'])
  t.same(folder.ids(Order), ['b'])
  t.same(folder.values(MaildropHost), [host])
  t.same(
    folder.entries().map(([id]) => id),
    ['a', 'b'],
  )
  t.equal(order.__parent__, folder)
  t.equal(folder.delete('b'), order)
  t.equal(order.__parent__, undefined)
  t.equal(folder.size, 1)
  t.notOk(folder.has('b'))
  t.equal(await codeOf(() => folder.delete('b')), 'NOT_FOUND')
  t.equal(await codeOf(() => folder.add('x', {} as Order)), 'WRONG_TYPE')
  t.equal(await codeOf(() => folder.add('again', host)), 'INVALID_ARGUMENT')
  t.equal(await codeOf(() => folder.add('self', folder)), 'INVALID_ARGUMENT')
})

t.test('rename and move change the place, or nothing at all', async t => {
  const [a, b] = [new Folder(), new Folder()]
  const order = a.add('o', new Order())
  a.add('other', new Order())
  a.rename('o', 'p')
  t.equal(a.get('p'), order)
  t.equal(await codeOf(() => a.rename('p', 'other')), 'DUPLICATE_ID')
  t.equal(await codeOf(() => a.rename('p', 'a/b')), 'INVALID_ID')
  t.equal(a.get('p'), order)
  a.move('p', b)
  t.same([a.ids(), b.ids(), a.size, b.size], [['other'], ['p'], 1, 1])
  a.add('b', b)
  t.equal(await codeOf(() => a.move('b', b)), 'INVALID_ARGUMENT', 'into itself')
  t.equal(a.get('b'), b)
})

t.test('a name is acquired from the nearest container outward', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    const outer = app.create('/XYZ', new MaildropHost({ title: 'outer' }))
    app.create('/shop/XYZ', new MaildropHost({ title: 'inner' }), { parents: true })
    const order = app.create('/shop/orders/o1', new Order(), { parents: true })
    const page = app.create('/other/page', new Order(), { parents: true })
    t.equal((order.acquire('XYZ') as MaildropHost).title, 'inner')
    t.equal(page.acquire('XYZ'), outer)
    t.equal(order.acquire('orders'), app.traverse('/shop/orders'))
  })
  await t.rejects(
    db.transact(app => app.traverse('/shop/orders/o1').acquire('nobody')),
    { code: 'NOT_FOUND', message: /no object named 'nobody' in \/shop\/orders\/o1 or in any container outward/ },
  )
  await db.close()
})

t.test('property: a folder holds what a Map would hold, after any additions, removals and reopening', async () => {
  const id = fc.string({ unit: fc.constantFrom('a', 'b', 'ü', '😀', ' '), minLength: 1, maxLength: 3 })
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(fc.boolean(), id), { maxLength: 40 }), async ops => {
      const level = newLevel()
      let db = await openDatabase(level)
      const model = new Set<string>()
      for (const [add, name] of ops) {
        await db.transact(app => {
          if (add && !app.has(name)) app.add(name, new Order())
          else if (!add && app.has(name)) app.delete(name)
        })
        if (add) model.add(name)
        else model.delete(name)
      }
      await db.close()
      db = await openDatabase(level)
      const found = await db.transact(app => ({ ids: app.ids(), size: app.size }))
      await db.close()
      return (
        found.size === model.size &&
        JSON.stringify(found.ids) === JSON.stringify([...model].sort((a, b) => (a < b ? -1 : 1)))
      )
    }),
    { numRuns: 40 },
  )
})

t.test('50 transactions add different objects to one folder beside each other, without a conflict', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    for (let i = 0; i < 200; i++) app.add(`old${i}`, new Order())
  })
  const results = await Promise.allSettled(
    Array.from({ length: 50 }, (_, i) =>
      db.transact(app => void app.add(`new${i * 17}`, new Order()), { attempts: 30 }),
    ),
  )
  t.same(
    results.filter(({ status }) => status === 'rejected'),
    [],
  )
  await db.transact(app => t.equal(app.size, 250))
  await db.close()
})
