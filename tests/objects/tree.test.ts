/** The tree: folders, paths, names, acquisition. */

import t from 'tap'
import { pickle, Reference } from '../../lib/pickle.ts'
import { asState } from '../../lib/state.ts'
import {
  Application,
  BTree,
  Counter,
  exportTree,
  Folder,
  MaildropHost,
  OrderedFolder,
  openDatabase,
  Persistent,
  PersistentList,
  PersistentMap,
  PersistentRef,
  type Properties,
  registerClass,
  type StateRecord,
  setProperty,
  subscribe,
  Template,
} from '../../objects/index.ts'
import { codeOf, newLevel } from '../support/database.ts'
import { fc } from '../support/properties.ts'
import { unregisterClass } from '../support/registry.ts'

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

t.test('of two folders that are put into each other at the same time one stays where it is', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    app.create('/one/in', new Folder(), { parents: true })
    app.create('/two/in', new Folder(), { parents: true })
  })
  const [first, second] = [db.open(), db.open()]
  first.root.move('one', first.root.traverse('/two/in', Folder))
  second.root.move('two', second.root.traverse('/one/in', Folder))
  await first.transaction.commit()
  t.equal(await codeOf(() => second.transaction.commit()), 'READ_CONFLICT')
  await second.transaction.abort()
  t.equal(second.root.traverse('/two/in/one/in').physicalPath, '/two/in/one/in')
  t.equal(await codeOf(() => second.root.move('two', second.root.traverse('/two/in/one', Folder))), 'INVALID_ARGUMENT')
  await second.transaction.abort()
  for (const each of [first, second]) each.close()
  await db.close()
})

t.test(
  'what is put into a folder is never lost by its deletion beside it, nor is it put into one that is gone',
  async t => {
    const deletions = {
      '/a/f': (app: Folder) => app.traverse('/a', Folder).delete('f'),
      '/a': (app: Folder) => app.delete('a'),
    }
    const places: Record<string, (app: Folder) => unknown> = {
      'added to it': app => app.create('/a/f/new', new Order()),
      'added deep in it': app => app.create('/a/f/g/new', new Order()),
      'added with folders': app => app.create('/a/f/g/h/i/new', new Order(), { parents: true }),
      'moved into it': app => app.traverse('/b', Folder).move('m', app.traverse('/a/f/g', Folder)),
      'a folder moved into it': app => app.move('b', app.traverse('/a/f', Folder)),
      'copied into it': app => app.copy('b', app.traverse('/a/f', Folder)),
      'moved out of it': app => app.traverse('/a/f/g', Folder).move('n', app.traverse('/b', Folder)),
      'a folder moved out of it': app => app.traverse('/a/f', Folder).move('g', app.traverse('/b', Folder)),
      'renamed in it': app => app.traverse('/a/f/g', Folder).rename('n', 'o'),
      'deleted in it': app => app.traverse('/a/f/g', Folder).delete('n'),
      'put into the place of another': app => {
        app.traverse('/a/f/g', Folder).delete('n')
        app.create('/a/f/g/n', new Order())
      },
    }
    for (const [deleted, remove] of Object.entries(deletions))
      for (const [name, place] of Object.entries(places))
        for (const placedFirst of [true, false]) {
          const what = `${name}, ${deleted} deleted ${placedFirst ? 'after' : 'before'}`
          const db = await openDatabase(newLevel())
          await db.transact(app => {
            app.create('/a/f/g/n', new Order(), { parents: true })
            app.create('/b/m', new Order(), { parents: true })
          })
          const [first, second] = [db.open(), db.open()]
          const [before, after] = placedFirst ? [place, remove] : [remove, place]
          before(first.root)
          after(second.root)
          await first.transaction.commit()
          t.equal(await codeOf(() => second.transaction.commit()), 'READ_CONFLICT', what)
          await second.transaction.abort()
          t.equal(
            await codeOf(() => after(second.root)),
            placedFirst || name === 'added with folders' ? undefined : 'NOT_FOUND',
            `${what}, again`,
          )
          for (const each of [first, second]) each.release()
          t.same((await db.verify()).problems, [])
          await db.close()
        }
  },
)

t.test('different additions to a folder, and changing or renaming what is around it, do not conflict', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    app.create('/a/f/old', new Order(), { parents: true })
  })
  const works: ((app: Application) => unknown)[] = [
    app => app.create('/a/f/one', new Order()),
    app => app.create('/a/f/two', new Order()),
    app => app.traverse('/a/f', Folder).delete('old'),
    app => app.create('/a/three', new Order()),
    app => app.add('four', new Order()),
    app => void (app.traverse('/a/f', Folder).title = 'another'),
    app => void (app.title = 'of all'),
    app => app.create('/a/f/five', new Order()),
    app => app.rename('a', 'b'),
    app => app.create('/a/f/six', new Order()),
  ]
  const connections = works.map(work => {
    const connection = db.open()
    work(connection.root)
    return connection
  })
  for (const each of connections) await each.transaction.commit()
  await db.transact(app => {
    t.same(app.traverse('/b/f', Folder).ids(), ['five', 'one', 'six', 'two'])
    t.same(
      [app.ids(), app.traverse('/b', Folder).ids()],
      [
        ['b', 'four'],
        ['f', 'three'],
      ],
    )
  })
  for (const each of connections) each.close()
  await db.close()
})

t.test('what newer code wrote is no damage, linked or not; it is packed, undone and refused with its path', async t => {
  class Note extends Folder {
    label = 'new'
    _p_resolveConflict(): StateRecord {
      t.fail('a state of another version was merged')
      return {}
    }
  }
  const register = (version: number) => registerClass('tests.Note', Note, { version })
  const commit = async (work: (app: Application) => void) => {
    await db.transact(work)
    return db.storage.lastTid
  }
  register(2)
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    app.add('note', new Note()).add('inner', new Folder())
    app.add('map', new PersistentMap([['gone', new Note()]]))
  })
  const renamed = await commit(app => void (app.traverse('/note', Note).label = 'renamed'))
  await commit(app => void (app.traverse('/note', Note).title = 'titled'))
  register(1)
  const isWhole = async () => t.match(await db.verify(), { ok: true, problems: [] })
  await isWhole()
  const unlinked = await commit(app => void app.traverse('/map', PersistentMap).delete('gone'))
  await isWhole()
  t.equal(await codeOf(() => db.undo(renamed)), 'UNDO_CONFLICT')
  await db.undo(unlinked)
  const refusal = { code: 'UNKNOWN_CLASS', message: /version 2, newer than the registered 1 \(object \d+ at \/note\)/ }
  for (const use of [
    (app: Application) => app.traverse('/note', Note).label,
    (app: Application) => app.delete('note'),
    (app: Application) => app.copy('note'),
    async (app: Application) => {
      for await (const _ of exportTree(app.get('note') as Note));
    },
  ])
    await t.rejects(db.transact<unknown>(use), refusal)
  await db.transact(app => void app.traverse('/map', PersistentMap).delete('gone'))
  t.equal((await db.pack()).objects, 4)
  await isWhole()
  register(2)
  t.equal(await db.transact(app => app.traverse('/note', Note).label), 'renamed')
  await isWhole()
  unregisterClass('tests.Note')
  await db.close()
})

t.test(
  'additions and deletions of different children are undone in any order, of the first and the last child too',
  async t => {
    const db = await openDatabase(newLevel())
    const { lastTid } = db.storage
    await db.transact(app => app.create('/f', new Folder()))
    for (const id of ['a', 'b']) await db.transact(app => app.create(`/f/${id}`, new Folder()))
    for (const id of ['a', 'b']) await db.transact(app => app.traverse('/f', Folder).delete(id))
    const tids = (await db.undoLog()).filter(({ tid }) => tid > lastTid).map(({ tid }) => tid)
    const [deletedB, deletedA, addedB, addedA] = tids as [number, number, number, number]
    const ids = () => db.transact(app => app.traverse('/f', Folder).ids())
    t.equal(await codeOf(() => db.undo(addedA)), 'UNDO_CONFLICT')
    await db.undo(deletedA)
    t.same(await ids(), ['a'])
    await db.undo(deletedB)
    t.same(await ids(), ['a', 'b'])
    await db.undo(addedA)
    t.same(await ids(), ['b'])
    await db.undo(addedB)
    t.same(await ids(), [])
    t.match(await db.verify(), { ok: true })
    await db.close()
  },
)

t.test('an undo puts nothing back into a folder that has gone since, unless it brings that back, too', async t => {
  const works: [string, (app: Application) => unknown][] = [
    ['moved', app => app.traverse('/p/in', Folder).move('x', app.traverse('/q', Folder))],
    ['deleted', app => app.traverse('/p/in', Folder).delete('x')],
  ]
  for (const [what, work] of works)
    for (const gone of ['/p', '/p/in']) {
      const db = await openDatabase(newLevel())
      await db.transact(app => {
        app.create('/p/in/x', new Order(), { parents: true })
        app.create('/q', new Folder())
      })
      await db.transact(app => void work(app), { note: 'first' })
      await db.transact(app => (gone === '/p' ? app : app.traverse('/p', Folder)).delete(gone.split('/').at(-1)!), {
        note: 'second',
      })
      const [second, first] = (await db.undoLog()).map(({ tid }) => tid)
      t.equal(await codeOf(() => db.undo(first!)), 'UNDO_CONFLICT', `${what}, ${gone} deleted`)
      await db.undo([second!, first!])
      await db.transact(app => t.equal(app.traverse('/p/in/x').physicalPath, '/p/in/x'))
      await db.close()
    }
})

t.test('a new object that a rollback, an abort or a conflict left over can be added again', async t => {
  const db = await openDatabase(newLevel())
  const outside = new Folder()
  outside.add('in', new Order())
  let attempts = 0
  await db.transact(async (app, tx) => {
    app.title = `attempt ${++attempts}`
    const savepoint = tx.savepoint()
    app.add('a', outside)
    savepoint.rollback()
    app.add('b', outside)
    t.equal(await codeOf(() => app.add('c', outside)), 'INVALID_ARGUMENT', 'now it is in the tree')
    if (attempts === 1) await db.transact(other => void (other.title = 'a conflict'))
  })
  t.equal(attempts, 2)
  const connection = db.open()
  const kept = connection.root.add('d', new Folder())
  await connection.transaction.abort()
  connection.root.add('e', kept)
  await connection.transaction.commit()
  connection.close()
  t.same(await db.transact(app => [app.ids(), app.traverse('/b/in').physicalPath]), [['b', 'e'], '/b/in'])
  await db.close()
})

t.test('an object of an unknown class can be deleted, and nothing else', async t => {
  class Lost extends Order {}
  registerClass('tests.Lost', Lost)
  const db = await openDatabase(newLevel())
  await db.transact(app => void app.create('/in/lost', new Lost(), { parents: true }))
  unregisterClass('tests.Lost')
  await db.transact(async app => {
    const folder = app.traverse('/in', Folder)
    t.equal(await codeOf(() => folder.rename('lost', 'found')), 'UNKNOWN_CLASS')
    t.equal(await codeOf(() => folder.move('lost', app)), 'UNKNOWN_CLASS')
    t.same([folder.ids(), app.ids()], [['lost'], ['in']], 'nothing has changed')
    const lost = folder.delete('lost')
    t.equal(folder.size, 0)
    t.equal(await codeOf(() => app.add('lost', lost)), 'INVALID_ARGUMENT')
    folder.add('lost', lost)
    t.equal(app.traverse('/in/lost'), lost)
  })
  const stop = subscribe(db, () => {
    throw new Error('no')
  })
  await db.transact(async app => {
    const folder = app.traverse('/in', Folder)
    t.equal(await codeOf(() => folder.delete('lost')), 'Error: no')
    t.ok(folder.has('lost'), 'it is taken back')
  })
  stop()
  await db.transact(app => void app.traverse('/in', Folder).delete('lost'))
  registerClass('tests.Lost', Lost)
  t.match(await db.verify(), { ok: true }, 'what is no longer in use may say where it was')
  await db.undo((await db.undoLog({ last: 1 }))[0]!.tid)
  t.equal(await db.transact(app => app.traverse('/in/lost', Lost).physicalPath), '/in/lost')
  await db.transact(app => void app.traverse('/in', Folder).delete('lost'))
  t.match(await db.pack(), { objects: 1 })
  await db.close()
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
      db.transact(app => void app.add(`new${i * 17}`, new Order()), { attempts: 1 }),
    ),
  )
  t.same(
    results.filter(({ status }) => status === 'rejected'),
    [],
  )
  await db.transact(app => t.equal(app.size, 250))
  await db.close()
})

class Box extends Persistent {
  map = new PersistentMap<string, Persistent>()
  index = new BTree<Persistent>()
  friend: Persistent | undefined
  ref: PersistentRef | undefined
  inner = { list: [1], when: new Date(0), again: undefined as unknown }
}
registerClass('Box', Box)

t.test('a copy has the same content and shares no object with the original; references outward stay', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => {
    const outside = app.create('/outside', new Order())
    const shop = app.create('/shop', new Folder())
    const box = shop.add('box', new Box())
    const part = new Order()
    box.map.set('part', part)
    box.map.set('outside', outside)
    for (let i = 0; i < 200; i++) box.index.set(i, part)
    box.inner.again = box.inner.list
    box.friend = shop.add('friend', new Order())
    shop.add('sub', new Folder()).add('deep', new Box()).friend = box
  })
  await db.transact(app => {
    const box = app.traverse('/shop/box', Box)
    box.ref = new PersistentRef(app.traverse('/shop/friend'))
    app.traverse('/shop/sub/deep', Box).ref = new PersistentRef(app.traverse('/outside'))
    const copy = app.copy('shop') as Folder
    t.equal(copy.physicalPath, '/copy_of_shop')
  })
  await db.transact(app => {
    const [shop, copy] = [app.traverse('/shop', Folder), app.traverse('/copy_of_shop', Folder)]
    const [box, boxCopy] = [shop.traverse('box', Box), copy.traverse('box', Box)]
    t.same([copy.ids(), copy.size], [shop.ids(), 3])
    t.equal(boxCopy.physicalPath, '/copy_of_shop/box')
    t.equal(boxCopy.friend, copy.get('friend'))
    t.equal(copy.traverse('sub/deep', Box).friend, boxCopy)
    t.equal(boxCopy.map.get('outside'), app.get('outside'))
    const part = boxCopy.map.get('part')
    t.ok(part instanceof Order && part !== box.map.get('part'))
    t.ok([...boxCopy.index.values()].every(each => each === part))
    t.same([boxCopy.index.size, boxCopy.inner.list], [200, [1]])
    t.equal(boxCopy.inner.again, boxCopy.inner.list, 'also what is shared inside')
    t.equal(boxCopy.ref?.deref(), copy.get('friend'), 'a weak reference inward leads to the copy')
    t.equal(copy.traverse('sub/deep', Box).ref?.deref(), app.get('outside'))
    boxCopy.inner.list.push(2)
    boxCopy.index.delete(5)
    boxCopy.map.delete('part')
    copy.delete('friend')
  })
  await db.transact(app => {
    const box = app.traverse('/shop/box', Box)
    t.same(
      [box.inner.list, box.index.size, box.map.size, box.ref?.deref()],
      [[1], 200, 2, app.traverse('/shop/friend')],
    )
    app.delete('shop')
  })
  await db.pack()
  await db.transact(app => t.equal(app.traverse('/copy_of_shop/box', Box).index.size, 199, 'nothing was shared'))
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('a copy is named as asked, or as Zope names copies; it may go below its original', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(async app => {
    app.add('a', new Folder()).add('b', new Folder())
    const names = [app.copy('a'), app.copy('a'), app.copy('a'), app.copy('a', app, 'z'), app.copy('a', app, 'z')]
    t.same(
      names.map(each => each.__name__),
      ['copy_of_a', 'copy2_of_a', 'copy3_of_a', 'z', 'copy_of_z'],
    )
    const [a, b] = [app.traverse('/a', Folder), app.traverse('/a/b', Folder)]
    t.equal(app.copy('a', b).physicalPath, '/a/b/a')
    t.same([a.traverse('b/a/b', Folder).ids(), b.ids()], [[], ['a']])
    t.equal(await codeOf(() => app.copy('none')), 'NOT_FOUND')
    t.equal(await codeOf(() => app.copy('a', app, 'x/y')), 'INVALID_ID')
    const refusal = { code: 'INVALID_ARGUMENT', message: '/a cannot be moved into itself (/a/b)' }
    t.throws(() => app.move('a', b), refusal, 'but nothing moves into itself')
  })
  await db.close()
})

t.test('children of an OrderedFolder come as ordered, the others after them by name', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(async app => {
    const menu = app.add('menu', new OrderedFolder())
    for (const id of ['d', 'c', 'b', 'a']) menu.add(id, id === 'c' ? new Folder() : new Order())
    t.same(menu.ids(), ['a', 'b', 'c', 'd'])
    menu.order(['c', 'a'])
    t.same(menu.ids(), ['c', 'a', 'b', 'd'])
    t.same(menu.ids(Order), ['a', 'b', 'd'])
    t.equal(menu.values()[0], menu.get('c'))
    menu.rename('c', 'x')
    t.same(menu.ids(), ['x', 'a', 'b', 'd'])
    t.equal(await codeOf(() => menu.rename('a', 'x')), 'DUPLICATE_ID')
    t.equal(await codeOf(() => menu.order(['x', 'none'])), 'NOT_FOUND')
    t.equal(await codeOf(() => menu.order(['x', 'x'])), 'INVALID_ARGUMENT')
    menu.delete('x')
    menu.add('e', new Order())
    t.same(menu.ids(), ['a', 'b', 'd', 'e'])
    menu.order(['e', 'd'])
  })
  await Promise.all(
    ['f', 'g'].map(id => db.transact(app => app.traverse('/menu', Folder).add(id, new Order()), { attempts: 1 })),
  )
  await db.transact(app => {
    t.same(app.traverse('/menu', OrderedFolder).ids(), ['e', 'd', 'a', 'b', 'f', 'g'])
    t.same(app.traverse('/menu', OrderedFolder).ids(undefined, { from: 'd', limit: 2 }), ['d', 'e'])
  })
  await db.close()
})

t.test('properties are converted from text, and a wrong text is refused with what was expected', async t => {
  class Article extends Persistent {
    static properties: Properties = {
      title: { type: 'string', description: 'title' },
      price: { type: 'number', description: 'price' },
      stock: { type: 'integer', description: 'how many' },
      sold: { type: 'boolean', description: 'whether it is gone' },
      since: { type: 'date', description: 'first day' },
      tags: { type: 'strings', description: 'words' },
      size: { type: 'choice', choices: ['S', 'L'], description: 'size' },
    }
  }
  const article = new Article()
  const valueSet = (name: string, text: string) => {
    setProperty(article, name, text)
    return Reflect.get(article, name)
  }
  const good: [string, string, unknown][] = [
    ['title', ' as it is ', ' as it is '],
    ['price', '-1.50', -1.5],
    ['price', '2e3', 2000],
    ['price', '.5', 0.5],
    ['stock', '007', 7],
    ['stock', '-3', -3],
    ['sold', 'false', false],
    ['since', '2026-03-31', new Date(Date.UTC(2026, 2, 31))],
    ['since', '2026-03-31T12:00+02:00', new Date(Date.UTC(2026, 2, 31, 10))],
    ['tags', 'a, b c,d', ['a', 'b c', 'd']],
    ['tags', '["a,b","c"]', ['a,b', 'c']],
    ['tags', '', []],
    ['size', 'L', 'L'],
  ]
  for (const [name, text, value] of good) t.strictSame(valueSet(name, text), value, `${name}=${text}`)
  const bad: [string, string, RegExp][] = [
    ['price', '1,5', /'price' must be a number, like .*, found "1,5"/],
    ['price', '', /a number/],
    ['price', '0x10', /a number/],
    ['price', '1e999', /a number/],
    ['price', 'Infinity', /a number/],
    ['stock', '1.5', /a whole number/],
    ['stock', '9007199254740993', /a whole number/],
    ['sold', 'yes', /must be true or false, found "yes"/],
    ['sold', 'constructor', /true or false/],
    ['since', '2026-02-30', /a date like 2026-03-31/],
    ['since', '2026-02-30T12:00Z', /a date/],
    ['since', '31.3.2026', /a date/],
    ['since', '2026-03-31T12:00', /a date/],
    ['since', '2026-03-31T25:00Z', /a date/],
    ['tags', '[1]', /a JSON array of strings/],
    ['tags', '[', /a JSON array/],
    ['size', 'M', /must be S or L, found "M"/],
  ]
  const before = { ...article }
  for (const [name, text, message] of bad)
    t.throws(() => setProperty(article, name, text), { code: 'INVALID_ARGUMENT', message }, `${name}=${text}`)
  t.throws(() => setProperty(article, 'constructor', 'x'), { code: 'NOT_FOUND' })
  t.strictSame({ ...article }, before)
})

t.test('a folder takes 100,000 children, and shows a slice of them without loading the rest', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => app.add('big', new Folder()))
  const began = performance.now()
  for (let batch = 0; batch < 20; batch++)
    await db.transact(app => {
      const big = app.traverse('/big', Folder)
      for (let i = 0; i < 5000; i++) big.add(`item${String(batch * 5000 + i).padStart(6, '0')}`, new Order())
    })
  t.comment(`100,000 added in ${Math.round(performance.now() - began)} ms`)
  const connection = db.open()
  const sliced = performance.now()
  const big = connection.root.traverse('/big', Folder)
  t.equal(big.size, 100_000)
  t.same(big.ids(undefined, { from: 'item050000', limit: 3 }), ['item050000', 'item050001', 'item050002'])
  t.equal(big.values(Order, { reverse: true, limit: 100 })[99]?.__name__, 'item099900')
  t.comment(`slices of 3 and 100 in ${(performance.now() - sliced).toFixed(1)} ms`)
  t.ok(connection.cacheStats.loaded < 150, `${connection.cacheStats.loaded} objects loaded`)
  connection.close()
  await db.close()
})

t.test('a stored state that somebody made up is refused as damaged, and is no failure of its class', async t => {
  const places = ['folder', 'ordered', 'page', 'tree', 'map', 'list', 'counter', 'leaf', 'branch']
  for (const [place, state] of [
    ['folder', {}],
    ['folder', { children: 5 }],
    ['folder', { children: 'the counter' }],
    ['ordered', { children: 'the tree' }],
    ['page', { __source__: null }],
    ['tree', { top: 'the counter', count: 'the counter' }],
    ['tree', { count: 'the counter' }],
    ['map', { data: {} }],
    ['list', {}],
    ['counter', { value: '1' }],
    ['leaf', { keys: [1], values: 1 }],
    ['branch', { keys: [], children: ['the counter'] }],
  ] as const) {
    const db = await openDatabase(newLevel())
    await db.transact(app => {
      app.add('folder', new Folder())
      app.add('ordered', new OrderedFolder())
      app.add('page', new Template('Hello'))
      const order = app.add('order', new Order()) as Order & Record<string, Persistent>
      order.counter = new Counter()
      order.tree = BTree.from(Array.from({ length: 100 }, (_, i) => [i, i]))
      order.map = new PersistentMap()
      order.list = new PersistentList()
    })
    const at = (app: Application) => {
      const order = app.get('order') as Order & Record<string, Persistent>
      const branch = (order.tree as unknown as { top: { children: Persistent[] } }).top
      const inner: Record<string, unknown> = { branch, leaf: branch.children[0] }
      return places.map(name => app.get(name) ?? ((inner[name] ?? order[name]) as Persistent))
    }
    await db.transact(async app => {
      const named = Object.fromEntries(at(app).map((object, i) => [places[i]!, object]))
      const object = named[place]!
      // loads it
      Object.keys(object)
      const className = { leaf: 'BTreeLeaf', branch: 'BTreeBranch' }[place as string] ?? object.constructor.name
      const refer = (value: unknown): unknown => {
        if (Array.isArray(value)) return value.map(refer)
        const other = named[/^the (\w+)$/.exec(String(value))?.[1] ?? '']
        return other === undefined ? value : new Reference(other._p_oid!, other.constructor.name)
      }
      const made = Object.fromEntries(Object.entries(state).map(([name, value]) => [name, refer(value)]))
      await db.storage.commit({
        changes: [
          {
            oid: object._p_oid!,
            serial: object._p_serial!,
            record: { className, version: 1, state: pickle(asState(made), met => met as Reference, place) },
            references: [],
          },
        ],
        reads: new Map(),
        outbox: new Map(),
        user: '',
        note: '',
        extension: {},
        merge: () => undefined,
      })
    })
    for (let reader = 0; reader < 3; reader++)
      t.equal(
        await codeOf(() =>
          db.transact(app => {
            const named = Object.fromEntries(at(app).map((object, i) => [places[i]!, object]))
            Object.keys(named[place]!)
          }),
        ),
        'DATABASE_CORRUPT',
        `${place} ${JSON.stringify(state)}`,
      )
    const { problems } = await db.verify()
    t.match(problems, [{ message: /its state is none of its class/ }], 'verify tells')
    await db.close()
  }
})

t.test('a container that is none, or leads around to itself, holds nothing up', async t => {
  for (const [container, code] of [
    [5, 'DATABASE_CORRUPT'],
    ['text', 'DATABASE_CORRUPT'],
    ['/a/b', 'DATABASE_CORRUPT'],
    ['/a', 'DATABASE_CORRUPT'],
  ] as const) {
    const db = await openDatabase(newLevel())
    await db.transact(app => void app.create('/a/b/c', new Folder(), { parents: true }))
    await db.transact(app => {
      const made = String(container).startsWith('/') ? app.traverse(String(container)) : container
      const a = app.get('a') as Persistent
      a.__parent__ = made as Folder
    })
    const calls: Record<string, (app: Application, a: Folder) => unknown> = {
      path: (_, a) => a.physicalPath,
      acquire: (_, a) => a.acquire('nothing'),
      add: (_, a) => a.add('d', new Folder()),
      delete: (_, a) => a.delete('b'),
      copy: (app, a) => app.copy('a', a, 'copy'),
      export: async (_, a) => {
        for await (const _piece of exportTree(a));
      },
    }
    for (const [name, call] of Object.entries(calls)) {
      const found = await codeOf(() => db.transact(app => call(app, app.get('a') as Folder)))
      t.equal(found, code, `${name}, ${container}`)
    }
    t.ok(await db.verify())
    await db.close()
  }
})
