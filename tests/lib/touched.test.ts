/** Which stored objects are followed because their inner values may be known outside, and which are not. */
import t from 'tap'
import { Item, openTestDatabase, type Root } from '../support/database.ts'

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
