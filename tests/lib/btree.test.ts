/** The BTree against a plain model. */
import fc from 'fast-check'
import t from 'tap'
import { BTree } from '../../lib/index.ts'
import { codeOf, openTestDatabase } from '../support/database.ts'

const sorted = (keys: Iterable<string | number>) =>
  [...keys].sort((a, b) => (typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === 'number' ? -1 : 1))

t.test('property: it answers like a sorted Map, whatever is done to it', async t => {
  const key = fc.oneof(fc.nat(300), fc.string({ maxLength: 2 }))
  const op = fc.tuple(fc.constantFrom('set', 'set', 'set', 'delete', 'clear'), key, fc.nat())
  fc.assert(
    fc.property(fc.array(op, { maxLength: 600, size: 'max' }), key, key, (ops, from, to) => {
      const tree = new BTree<number>()
      const model = new Map<string | number, number>()
      for (const [action, k, v] of ops) {
        if (action === 'set') {
          if (tree.set(k, v) === model.has(k)) return false
          model.set(k, v)
        } else if (action === 'delete') {
          if (tree.delete(k) !== model.delete(k)) return false
        } else for (const each of sorted(model.keys()).slice(0, 40)) tree.delete(each) && model.delete(each)
      }
      const keys = sorted(model.keys())
      const range = keys.filter(k => sorted([from, k])[0] === from && k !== to && sorted([k, to])[0] === k)
      return (
        JSON.stringify([...tree.entries()]) === JSON.stringify(keys.map(k => [k, model.get(k)])) &&
        JSON.stringify([...tree.keys(from, to)]) === JSON.stringify(range) &&
        keys.every(k => tree.has(k) && tree.get(k) === model.get(k))
      )
    }),
    { numRuns: 300 },
  )
  t.pass()
})

t.test('it may be changed while it is walked through', async t => {
  const tree = new BTree<number>()
  for (let i = 0; i < 500; i++) tree.set(i, i)
  const seen: unknown[] = []
  for (const key of tree.keys()) {
    seen.push(key)
    tree.delete(key)
  }
  t.same(
    seen,
    Array.from({ length: 500 }, (_, i) => i),
  )
  t.same([...tree.keys()], [])
})

t.test('keys that have no order are refused', async t => {
  const tree = new BTree()
  for (const key of [undefined, null, {}, Number.NaN, true] as unknown as string[])
    t.equal(await codeOf(() => tree.set(key, 1)), 'INVALID_ARGUMENT')
})

t.test('100,000 entries: an insertion writes a few small records', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    for (let i = 0; i < 100_000; i++) root.tree.set(`key${i}`, i)
  })
  await db.transact(root => {
    t.equal(root.tree.get('key77777'), 77777)
    root.tree.set('new', 1)
  })
  const connection = db.open()
  t.equal(connection.root.tree.get('new'), 1)
  t.equal([...connection.root.tree.keys('key9', 'key91')].length, 1112)
  connection.close()
  await db.close()
})

t.test('concurrent insertions all arrive, through splits too', async t => {
  const db = await openTestDatabase()
  await Promise.all(
    Array.from({ length: 300 }, (_, i) =>
      db.transact(root => void root.tree.set((i * 7919) % 1000, i), { attempts: 100 }),
    ),
  )
  await db.transact(root => t.equal([...root.tree.keys()].length, 300))
  await db.close()
})

t.test('of two transactions that set one key, one conflicts; an emptied leaf does too', async t => {
  const db = await openTestDatabase()
  await db.transact(root => void root.tree.set('a', 0))
  const both = (first: (tree: BTree) => unknown, second: (tree: BTree) => unknown) => {
    const [a, b] = [db.open(), db.open()]
    first(a.root.tree)
    second(b.root.tree)
    return a.transaction.commit().then(async () => {
      const code = await codeOf(() => b.transaction.commit())
      await b.transaction.abort()
      return code
    })
  }
  t.equal(
    await both(
      tree => tree.set('a', 1),
      tree => tree.set('a', 2),
    ),
    'CONFLICT',
  )
  t.equal(
    await both(
      tree => tree.set('b', 1),
      tree => tree.set('c', 2),
    ),
    undefined,
  )
  t.equal(
    await both(
      tree => [...tree.keys()].map(key => tree.delete(key)),
      tree => tree.set('d', 2),
    ),
    'CONFLICT',
  )
  t.equal(
    await both(
      tree => tree.set('x', 2),
      tree => tree.set('x', 2),
    ),
    'CONFLICT',
    'also with the same value',
  )
  await db.close()
})
