/** Which stored objects are followed because their inner values may be known outside, and which are not. */
import t from 'tap'
import { type Persistent, registerClass } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { unregisterClass } from '../support/registry.ts'

t.test('an inner value that was set and kept stays part of a loaded object, though no other was read', async t => {
  const db = await openTestDatabase()
  const sets: [string, (root: Root, value: unknown[]) => void][] = [
    ['assigned', (root, value) => void (root.any = value)],
    ['defined', (root, value) => void Object.defineProperty(root, 'any', { value, configurable: true })],
  ]
  for (const [name, set] of sets) {
    const connection = db.open()
    const { root } = connection
    t.equal(root.n, 0, 'it is loaded')
    const kept: unknown[] = ['first']
    set(root, kept)
    await connection.transaction.commit()
    kept.push('second')
    await connection.transaction.commit()
    kept.push('third')
    connection.transaction.savepoint()
    kept.push('fourth')
    await connection.transaction.commit()
    connection.close()
    t.same(await db.transact(root => root.any), ['first', 'second', 'third', 'fourth'], name)
  }
  await db.close()
})

t.test('what was stored before a savepoint failed is followed as well', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const { root, transaction } = connection
  const [kept, refused] = [['first'], [() => 0] as unknown[]]
  const item = new Item('new')
  const oid = connection.add(item)
  t.equal(connection.get(oid), item, 'a new object is found by its oid')
  root.any = item
  item.others = kept as never
  const other = new Item('refused')
  connection.add(other)
  other.others = refused as never
  t.equal(await codeOf(() => transaction.savepoint()), 'INVALID_VALUE')
  refused[0] = 'sound'
  kept.push('second')
  await transaction.commit()
  t.same(await db.transact(root => (root.any as Item).others), ['first', 'second'])
  kept.push('third')
  t.equal(await codeOf(() => connection.close()), 'CONNECTION_DIRTY')
  await connection.transaction.commit()
  connection.close()
  t.same(await db.transact(root => (root.any as Item).others), ['first', 'second', 'third'])
  await db.close()
})

t.test('an object of which only scalars were changed is not followed, so it can leave the cache', async t => {
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = [new Item('a'), new Item('b')]))
  const connection = db.open()
  const [scalar, inner] = connection.root.any as [Item, Item]
  scalar.label = 'c'
  inner.label = 'd'
  inner.others.push(scalar)
  await connection.transaction.commit()
  connection.cacheMinimize()
  t.equal(scalar._p_changed, undefined, 'it became a ghost')
  t.equal(inner._p_changed, false, 'it stayed, for its array may be in use')
  t.equal(scalar.label, 'c')
  connection.close()
  await db.close()
})

t.test('a change in place where only reading is allowed is an error at the latest when the view ends', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.list = [1, [2]]
    root.record = { date: new Date(0), bytes: new Uint8Array(2) }
    root.map.set('a', { b: 1 })
  })
  const changes: [string, (root: Root) => unknown][] = [
    ['array', root => root.list.sort().reverse()],
    ['nested array', root => (root.list[1] as number[]).push(3)],
    ['date', root => (root.record.date as Date).setTime(5)],
    ['bytes', root => (root.record.bytes as Uint8Array).fill(1)],
    ['map', root => root.map.delete('a')],
    ['object in a map', root => Object.assign(root.map.get('a') as object, { b: 2 })],
    ['set', root => root.set.add(1)],
  ]
  for (const options of [{ readOnly: true }, { at: new Date() }])
    for (const [name, change] of changes) {
      const view = db.open(options)
      change(view.root)
      t.equal(await codeOf(() => view.close()), 'READ_ONLY', `${name}: close`)
      t.equal(await codeOf(() => view.sync()), 'READ_ONLY', `${name}: sync`)
      t.equal(await codeOf(() => view.transaction.commit()), 'READ_ONLY', `${name}: commit`)
      await view.transaction.abort()
      t.same(view.root.list, [1, [2]], 'after the abort it is as it was')
      view.close()
    }
  const view = db.open({ readOnly: true, cacheSize: 0 })
  const { list } = view.root
  view.cacheMinimize()
  t.equal(view.root._p_changed, undefined, 'what was only looked into need not stay')
  list.push(3)
  t.same(view.root.list, [1, [2]])
  view.root.list.push(3)
  view.cacheMinimize()
  t.equal(await codeOf(() => view.close()), 'READ_ONLY', 'what was changed stays, and is told of')
  const item = new Item('new')
  t.equal(await codeOf(() => view.add(item)), 'READ_ONLY')
  t.equal((item as Persistent)._p_jar, undefined, 'what was refused belongs to nobody')
  view.release()
  await db.close()
})

t.test('an upgrade that makes something new each time is no change in place', async t => {
  class Dated extends Item {}
  registerClass('tests.Dated', Dated)
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = new Dated('x')))
  unregisterClass('tests.Dated')
  let number = 0
  registerClass('tests.Dated', Dated, { version: 2, upgrade: state => ({ ...state, number: number++ }) })
  const view = db.open({ readOnly: true })
  t.same((view.root.any as Dated).others, [])
  view.close()
  unregisterClass('tests.Dated')
  await db.close()
})
