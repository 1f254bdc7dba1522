/** PersistentMap, PersistentList and PersistentRef against what they are named after. */

import t from 'tap'
import { type Connection, isRetryable, PersistentList, PersistentMap, PersistentRef } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { fc } from '../support/properties.ts'

const mapOf = (root: Root) => root.any as PersistentMap
const listOf = (root: Root) => root.any as PersistentList

t.test('property: a PersistentMap holds what a Map holds, after reopening too', async t => {
  const db = await openTestDatabase()
  const key = fc.oneof(
    fc.string({ maxLength: 2 }),
    fc.integer({ min: -3, max: 3 }),
    fc.constantFrom(Number.NaN, -0, 0, null, undefined, true, false, 1n, Number.POSITIVE_INFINITY),
  )
  const value = fc.oneof(fc.anything({ maxDepth: 1 }).filter(isStorable), fc.nat())
  const op = fc.tuple(fc.constantFrom('set', 'set', 'delete', 'clear'), key, value)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(op, { maxLength: 12 }), { maxLength: 4 }), async transactions => {
      const model = new Map<unknown, unknown>()
      await db.transact(root => {
        root.any = new PersistentMap()
      })
      for (const ops of transactions)
        await db.transact(root => {
          const map = mapOf(root)
          for (const [action, k, v] of ops) {
            if (action === 'set') {
              map.set(k, v)
              model.set(k, v)
            } else if (action === 'delete') t.equal(map.delete(k), model.delete(k))
            else {
              map.clear()
              model.clear()
            }
          }
        })
      await db.transact(root => {
        const map = mapOf(root)
        t.strictSame([...map], [...model])
        t.equal(map.size, model.size)
        for (const [k, v] of model) t.strictSame([map.has(k), map.get(k)], [true, v])
      })
    }),
    { numRuns: 100 },
  )
  await db.close()
})
const isStorable = (value: unknown) => typeof value !== 'object' || value === null || Array.isArray(value)

t.test('a PersistentMap takes persistent objects as keys, and refuses what has no lasting identity', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    const item = new Item('key')
    root.list = [item]
    root.any = new PersistentMap([[item, 'value']])
  })
  await db.transact(root => t.equal(mapOf(root).get(root.list[0]), 'value'))
  const map = new PersistentMap()
  for (const key of [{}, [], new Date(), Symbol('s'), () => 1])
    t.equal(await codeOf(() => map.set(key, 1)), 'INVALID_ARGUMENT')
  t.throws(() => map.set(new Date(), 1), { message: /found an object of class Date/ })
  t.equal(map.size, 0)
  await db.close()
})

t.test('a change inside a value of a map or list is stored, whichever way the value came out', async t => {
  const db = await openTestDatabase()
  type Box = { n: number }
  const ways: [string, (map: PersistentMap<string, Box>, list: PersistentList<Box>) => Box | undefined][] = [
    ['get', map => map.get('k')],
    ['values', map => [...map.values()][0]],
    ['entries', map => [...map][0]?.[1]],
    ['at', (_, list) => list.at(0)],
    ['iteration', (_, list) => [...list][0]],
    ['slice', (_, list) => list.slice()[0]],
    ['map', (_, list) => list.map(each => each)[0]],
    ['filter', (_, list) => list.filter(() => true)[0]],
    ['find', (_, list) => list.find(() => true)],
  ]
  await db.transact(root => {
    root.any = new PersistentMap([['k', { n: 0 }]])
    root.list = [new PersistentList([{ n: 0 }])]
  })
  for (const [name, way] of ways) {
    const inner = (root: Root) =>
      way(root.any as PersistentMap<string, Box>, root.list[0] as PersistentList<Box>) as Box
    const before = await db.transact(root => {
      const box = inner(root)
      box.n += 1
      return box.n
    })
    await db.transact(root => t.equal(inner(root).n, before, name))
  }
  await db.transact(async root => {
    const box = { n: 0 }
    ;(root.list[0] as PersistentList).push(box)
    mapOf(root).set('new', box)
    ;(root._p_jar as Connection).transaction.savepoint()
    box.n = 5
  })
  await db.transact(root => {
    t.same((root.list[0] as PersistentList).at(-1), { n: 5 })
    t.same(mapOf(root).get('new'), { n: 5 })
  })
  await db.close()
})

t.test('property: transactions that change different keys of a map merge, others conflict', async t => {
  const db = await openTestDatabase()
  const ops = fc.array(fc.tuple(fc.boolean(), fc.nat(12), fc.nat(3)), { maxLength: 6 })
  const apply = (map: Map<number, number> | PersistentMap, list: [boolean, number, number][]) => {
    for (const [add, key, value] of list) add ? map.set(key, value) : map.delete(key)
  }
  let merges = 0
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.nat(12)), ops, ops, async (keys, first, second) => {
      const base = new Map(keys.map(key => [key, -1]))
      await db.transact(root => {
        root.any = new PersistentMap(base)
      })
      const [theirs, ours] = [new Map(base), new Map(base)]
      apply(theirs, first)
      apply(ours, second)
      const [a, b] = [db.open(), db.open()]
      apply(mapOf(a.root), first)
      apply(mapOf(b.root), second)
      await a.transaction.commit()
      const failure = await b.transaction.commit().then(
        () => undefined,
        error => error,
      )
      const all = [...new Set([...base.keys(), ...theirs.keys(), ...ours.keys()])]
      const changed = (side: Map<number, number>) => all.filter(key => side.get(key) !== base.get(key))
      const both = changed(theirs).some(key => changed(ours).includes(key))
      t.equal(isRetryable(failure), both && failure !== undefined)
      if (both) t.ok(failure)
      const expected = new Map(theirs)
      if (failure === undefined) {
        merges += 1
        for (const key of changed(ours)) {
          const value = ours.get(key)
          if (value === undefined) expected.delete(key)
          else expected.set(key, value)
        }
      } else await b.transaction.abort()
      b.sync()
      t.same(new Map(mapOf(b.root) as Iterable<[number, number]>), expected)
      a.close()
      b.close()
    }),
    { numRuns: 200 },
  )
  t.ok(merges > 20, `${merges} merges`)
  await db.close()
})

t.test('a map that one transaction moves while another fills it keeps both changes', async t => {
  class Shelf extends PersistentMap {
    label = ''
  }
  const { registerClass } = await import('../../lib/index.ts')
  registerClass('Shelf', Shelf)
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Shelf()
  })
  const [a, b, c] = [db.open(), db.open(), db.open()]
  mapOf(a.root).set('k', 1)
  ;(b.root.any as Shelf).label = 'B'
  ;(c.root.any as Shelf).label = 'C'
  await a.transaction.commit()
  await b.transaction.commit()
  t.equal(await codeOf(() => c.transaction.commit()), 'CONFLICT')
  await c.transaction.abort()
  t.same([(c.root.any as Shelf).label, mapOf(c.root).get('k')], ['B', 1])
  for (const each of [a, b, c]) each.close()
  await db.close()
})

t.test('property: a PersistentList does what an Array does, after reopening too', async t => {
  const db = await openTestDatabase()
  const op = fc.tuple(
    fc.constantFrom('push', 'pop', 'shift', 'unshift', 'splice', 'set', 'sort', 'reverse', 'clear'),
    fc.integer({ min: -5, max: 9 }),
    fc.nat(4),
    fc.array(fc.nat(20), { maxLength: 3 }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(op, { maxLength: 10 }), { maxLength: 4 }), async transactions => {
      const model: number[] = []
      await db.transact(root => {
        root.any = new PersistentList()
      })
      for (const ops of transactions)
        await db.transact(root => {
          const list = root.any as PersistentList<number>
          for (const [action, at, count, items] of ops) {
            switch (action) {
              case 'push':
              case 'unshift':
                t.equal(list[action](...items), model[action](...items))
                break
              case 'pop':
              case 'shift':
                t.equal(list[action](), model[action]())
                break
              case 'splice':
                t.same(list.splice(at, count, ...items), model.splice(at, count, ...items))
                break
              case 'set':
                if (at >= 0 && at < model.length) {
                  list.set(at, count)
                  model[at] = count
                }
                break
              case 'sort':
                t.equal(
                  list.sort((a, b) => a - b),
                  list,
                )
                model.sort((a, b) => a - b)
                break
              case 'reverse':
                list.reverse()
                model.reverse()
                break
              default:
                list.clear()
                model.length = 0
            }
          }
        })
      await db.transact(root => {
        const list = root.any as PersistentList<number>
        t.same([...list], model)
        t.equal(list.length, model.length)
        for (const at of [-2, 0, 1]) t.equal(list.at(at), model.at(at))
        for (const item of [1, 2])
          t.same([list.indexOf(item), list.includes(item)], [model.indexOf(item), model.includes(item)])
        t.same(list.slice(1, 3), model.slice(1, 3))
      })
    }),
    { numRuns: 100 },
  )
  await db.close()
})

t.test('splice takes an undefined count and missing arguments as an Array does', t => {
  for (const args of [[], [1], [1, undefined], [1, undefined, 9], [1, 1, 9]] as unknown as [number][]) {
    const list = new PersistentList([1, 2, 3])
    const model = [1, 2, 3]
    t.same(list.splice(...args), model.splice(...args))
    t.same([...list], model)
  }
  t.end()
})

t.test('a list has no holes, and one of two that change it conflicts', async t => {
  const db = await openTestDatabase()
  const list = new PersistentList(['a'])
  for (const index of [-1, 1, 0.5, Number.NaN]) t.equal(await codeOf(() => list.set(index, 'x')), 'INVALID_ARGUMENT')
  t.throws(() => list.set(7, 'x'), { message: /a list of 1 has no item 7/ })
  await db.transact(root => {
    root.any = list
  })
  const [a, b] = [db.open(), db.open()]
  listOf(a.root).push('b')
  listOf(b.root).push('c')
  await a.transaction.commit()
  t.equal(await codeOf(() => b.transaction.commit()), 'CONFLICT')
  await b.transaction.abort()
  t.same([...listOf(b.root)], ['a', 'b'])
  a.close()
  b.close()
  await db.close()
})

t.test('reading a map or a list of scalars writes nothing', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new PersistentMap([['k', 1]])
    root.list = [new PersistentList([1])]
  })
  const connection = db.open()
  const list = connection.root.list[0] as PersistentList
  t.same([[...mapOf(connection.root)], mapOf(connection.root).delete('none'), [...list]], [[['k', 1]], false, [1]])
  t.same([mapOf(connection.root)._p_changed, list._p_changed], [false, false])
  connection.close()
  await db.close()
})

t.test('a PersistentRef finds its object, and does not keep it from being packed away', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    const item = new Item('here')
    ;(root._p_jar as Connection).add(item)
    const ref = new PersistentRef(item)
    t.equal(ref.deref(), item, 'before it is stored')
    root.any = ref
    root.list = [item]
  })
  const refOf = (root: Root) => root.any as PersistentRef<Item>
  await db.transact(root => {
    t.equal(refOf(root).deref(), root.list[0])
    t.equal(refOf(root).deref()?.label, 'here')
  })
  await db.transact(root => {
    root.list = []
  })
  await db.transact(root => t.equal(refOf(root).deref()?.label, 'here', 'until it is packed'))
  const packed = await db.pack()
  t.equal(packed.objects, 1)
  await db.transact(root => t.equal(refOf(root).deref(), undefined))
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('a PersistentRef whose object was never committed finds nothing', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const item = new Item('new')
  connection.add(item)
  const ref = new PersistentRef(item)
  await connection.transaction.abort()
  t.equal(ref.deref(), undefined)
  connection.root.any = ref
  t.equal(ref.deref(), undefined)
  await connection.transaction.commit()
  t.equal(ref.deref(), undefined)
  connection.close()
  await db.close()
})

t.test('a PersistentRef to an object without an oid is refused, in another database it finds nothing', async t => {
  t.throws(() => new PersistentRef(new Item('free')), {
    code: 'NOT_CONNECTED',
    message: /found a Item without oid; .*connection\.add/,
  })
  for (const value of [undefined, null, 5, {}])
    t.equal(await codeOf(() => new PersistentRef(value as unknown as Item)), 'NOT_CONNECTED')
  const [one, two] = [await openTestDatabase(), await openTestDatabase()]
  const [a, b] = [one.open(), two.open()]
  const ref = new PersistentRef(a.root)
  t.equal(ref.deref(), a.root)
  b.root.any = ref
  await b.transaction.commit()
  t.equal(ref.deref(), undefined)
  for (const each of [a, b, one, two]) await each.close()
})
