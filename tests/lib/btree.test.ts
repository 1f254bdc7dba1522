/** The BTree against a plain model. */

import t from 'tap'
import { Branch, Leaf } from '../../lib/btree-nodes.ts'
import { BTree, type Connection, type Key, registerClass, type StateRecord } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase } from '../support/database.ts'
import { directory } from '../support/program.ts'
import { fc } from '../support/properties.ts'

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
  for (const key of [
    undefined,
    null,
    {},
    [],
    Symbol('s'),
    Number.NaN,
    -Infinity,
    new Date(Number.NaN),
    Object.create(Date.prototype),
    new Proxy(new Date(), {}),
  ] as unknown as string[])
    for (const attempt of [
      () => tree.set(key, 1),
      () => tree.get(key),
      () => tree.has(key),
      () => tree.delete(key),
      () => BTree.from([[key, 1]]),
    ])
      t.equal(await codeOf(attempt), 'INVALID_ARGUMENT')
  await t.rejects(async () => tree.set({ a: 1 } as unknown as string, 1), {
    message: /a key must be .*, found \{ a: 1 \}/,
  })
  t.equal(tree.size, 0)
  t.equal(await codeOf(() => tree.keys({ limit: -1 }).next()), 'INVALID_ARGUMENT')
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

t.test('of two transactions that set one key, one conflicts', async t => {
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
    undefined,
    'also where the leaf was emptied',
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

const anyKey = fc.oneof(
  fc.string({ maxLength: 2, unit: 'binary' }),
  fc.integer({ min: -20, max: 20 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.bigInt({ min: -20n, max: 20n }),
  fc.bigInt(),
  fc.boolean(),
  fc.date({ noInvalidDate: true }),
)

t.test('property: any scalars have one total order, which ranges follow both ways, also after reopening', async t => {
  const kinds = ['boolean', 'number', 'object', 'string']
  const kind = (key: Key) => kinds.indexOf(typeof key === 'bigint' ? 'number' : typeof key)
  const order = (a: Key, b: Key) => kind(a) - kind(b) || (a < b ? -1 : a > b ? 1 : 0)
  const plain = (keys: Iterable<Key>) => Array.from(keys, key => (typeof key === 'object' ? +key : key))
  const db = await openTestDatabase()
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyKey, { maxLength: 200, size: 'max' }),
      fc.option(anyKey, { nil: undefined }),
      fc.option(anyKey, { nil: undefined }),
      fc.record({ includeFrom: fc.boolean(), includeTo: fc.boolean(), reverse: fc.boolean(), limit: fc.nat(300) }),
      async (keys, from, to, options) => {
        const model: Key[] = []
        for (const key of keys) if (model.every(each => order(each, key) !== 0)) model.push(key)
        model.sort(order)
        const inRange = model.filter(key => {
          const low = from === undefined ? 1 : order(key, from)
          const high = to === undefined ? -1 : order(key, to)
          return (low > 0 || (low === 0 && options.includeFrom)) && (high < 0 || (high === 0 && options.includeTo))
        })
        if (options.reverse) inRange.reverse()
        await db.transact(root => {
          root.tree = new BTree()
          for (const key of keys) root.tree.set(key, String(key))
        })
        await db.transact(root => {
          const { tree } = root
          const built = BTree.from(keys.map(key => [key, String(key)]))
          for (const each of [tree, built]) {
            t.same(plain(each.keys({ from, to, ...options })), plain(inRange.slice(0, options.limit)))
            t.equal(each.size, model.length)
            t.same(plain(each.keys()), plain(model))
          }
          t.same([...built.values()], [...tree.values()])
          if (from !== undefined) {
            t.same(plain([tree.minKey(from) ?? 'none']), plain([model.find(key => order(key, from) >= 0) ?? 'none']))
            t.same(
              plain([tree.maxKey(from) ?? 'none']),
              plain([model.findLast(key => order(key, from) <= 0) ?? 'none']),
            )
          }
        })
      },
    ),
    { numRuns: 150 },
  )
  await db.close()
})

t.test('1 and 1n, 0 and -0 are one key; a date given out is a copy', t => {
  const tree = new BTree<string>()
  const date = new Date(5)
  tree.set(1, 'one').valueOf()
  tree.set(-0, 'zero')
  tree.set(date, 'then')
  t.notOk(tree.set(1n, 'big one'))
  t.equal(tree.get(1), 'big one')
  t.ok(Object.is(tree.minKey(), 0))
  date.setTime(0)
  ;(tree.maxKey() as Date).setTime(0)
  t.same([tree.has(new Date(5)), tree.has(new Date(0))], [true, false])
  t.ok(tree.delete(1n))
  t.equal(tree.size, 2)
  t.end()
})

t.test('entries that move to another leaf while it is walked through are not missed', t => {
  for (const reverse of [false, true]) {
    const tree = BTree.from(Array.from({ length: 60 }, (_, i) => [i * 100, i]))
    const seen: Key[] = []
    for (const key of tree.keys({ reverse })) {
      seen.push(key)
      if (seen.length === 1) for (let i = 1; i < 99; i++) tree.set((reverse ? -100 : 6000) + i, i)
      if (seen.length === 2) for (let i = 1; i < 99; i++) tree.set(3000 + i, i)
    }
    const old = seen.filter(key => (key as number) % 100 === 0)
    t.same(
      old,
      Array.from({ length: 60 }, (_, i) => (reverse ? 59 - i : i) * 100),
    )
  }
  t.end()
})

t.test('clear removes everything, and conflicts with an insertion made before it and unseen', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    for (let i = 0; i < 500; i++) root.tree.set(i, i)
  })
  const [a, b] = [db.open(), db.open()]
  a.root.tree.clear()
  b.root.tree.set(1.5, 0)
  t.same([a.root.tree.size, [...a.root.tree]], [0, []])
  await b.transaction.commit()
  t.equal(await codeOf(() => a.transaction.commit()), 'READ_CONFLICT')
  await a.transaction.abort()
  t.equal(a.root.tree.size, 501)
  a.root.tree.clear()
  b.root.tree.set('beside', 1)
  await a.transaction.commit()
  await b.transaction.commit()
  a.sync()
  t.same([...a.root.tree], [['beside', 1]])
  t.equal(a.root.tree.size, 1)
  a.close()
  b.close()
  await db.close()
})

t.test(
  'property: of transactions beside each other, those that changed the same keys conflict, and no others',
  async t => {
    const db = await openTestDatabase()
    const ops = fc.array(fc.tuple(fc.boolean(), fc.nat(400), fc.nat()), { maxLength: 120, size: 'max' })
    let merges = 0
    const apply = (to: { set(key: number, value: number): unknown; delete(key: number): unknown }, list: Ops) => {
      for (const [add, key, value] of list) add ? to.set(key, value) : to.delete(key)
    }
    const disjoint = fc.boolean()
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.nat(400), { maxLength: 300, size: 'max' }),
        fc.array(ops, { minLength: 2, maxLength: 3 }),
        disjoint,
        async (keys, lists, apart) => {
          await db.transact(root => {
            root.tree = BTree.from(keys.map(key => [key, -1]))
          })
          const base = new Map(keys.map(key => [key, -1]))
          const expected = new Map(base)
          const connections = lists.map((list, i) => {
            const connection = db.open()
            const own: Ops = apart ? list.map(([add, key, value]) => [add, key - (key % 3) + i, value]) : list
            apply(connection.root.tree as BTree<number>, own)
            const mine = new Map(base)
            apply(mine, own)
            return { connection, mine }
          })
          for (const { connection, mine } of connections) {
            const changed = [...new Set([...base.keys(), ...mine.keys()])].filter(
              key => base.get(key) !== mine.get(key),
            )
            const clash = changed.some(key => expected.get(key) !== base.get(key))
            if (apart) t.notOk(clash)
            const code = await codeOf(() => connection.transaction.commit())
            t.equal(code, clash ? 'CONFLICT' : undefined)
            if (clash) await connection.transaction.abort()
            else
              for (const key of changed) {
                const value = mine.get(key)
                if (value === undefined) expected.delete(key)
                else expected.set(key, value)
              }
            if (!clash) merges += 1
            const { tree } = connection.root
            t.same(
              [...tree],
              [...expected].sort(([x], [y]) => x - y),
            )
            t.equal(tree.size, expected.size)
            t.ok([...expected].every(([key, value]) => tree.get(key) === value))
          }
          for (const { connection } of connections) connection.close()
        },
      ),
      { numRuns: 200, examples: [[[], [[[true, 1, 1]], [[true, 2, 2]]], false]] },
    )
    t.ok(merges > 10, `${merges} merges`)
    await db.close()
  },
)
type Ops = [add: boolean, key: number, value: number][]

t.test('a change below the cut merges with a split, whichever commits first', async t => {
  for (const splitFirst of [true, false]) {
    const db = await openTestDatabase()
    await db.transact(root => {
      root.tree = BTree.from(Array.from({ length: 64 }, (_, i) => [i * 2, i]))
    })
    const [splitter, other] = [db.open(), db.open()]
    splitter.root.tree.set(127, 'splits')
    other.root.tree.set(0, 'low')
    other.root.tree.delete(2)
    for (const each of splitFirst ? [splitter, other] : [other, splitter]) await each.transaction.commit()
    await db.transact(root => {
      t.same([root.tree.get(0), root.tree.get(127), root.tree.size], ['low', 'splits', 64])
      t.same([...root.tree.keys()], [0, ...Array.from({ length: 62 }, (_, i) => i * 2 + 4), 127])
    })
    splitter.close()
    other.close()
    await db.close()
  }
})

t.test('two transactions may split the same leaf', async t => {
  for (const sparseFirst of [true, false]) {
    const db = await openTestDatabase()
    await db.transact(root => {
      root.tree = BTree.from(Array.from({ length: 640 }, (_, i) => [i * 1000, i]))
      for (let i = 202; i < 256; i++) root.tree.delete(i * 1000)
    })
    const [sparse, dense] = [db.open(), db.open()]
    for (let i = 0; i < 60; i++) sparse.root.tree.set(210_000 + i * 2, i)
    for (let i = 0; i < 80; i++) dense.root.tree.set(210_001 + i * 2, i)
    const [first, second] = sparseFirst ? [sparse, dense] : [dense, sparse]
    await first.transaction.commit()
    await second.transaction.commit()
    first.sync()
    for (const { root } of [first, second]) t.same([[...root.tree.keys()].length, root.tree.size], [726, 726])
    for (const each of [first, second]) each.close()
    await db.close()
  }
})

t.test('nothing is merged into a branch that was emptied, or whose first child both changed', t => {
  const branch = (...children: string[]) => ({ keys: children.slice(1).map((_, i) => i), children, splits: 0 })
  const merged = (...states: [object, object, object]) =>
    Branch.prototype._p_resolveConflict(...(states as [StateRecord, StateRecord, StateRecord])).children
  t.throws(() => merged(branch('a', 'b'), branch(), branch('a', 'b', 'c')), /emptied/)
  t.throws(() => merged(branch('a', 'b'), branch('a', 'b', 'c'), branch()), /emptied/)
  t.throws(() => merged(branch('a', 'b'), branch('x', 'b'), branch('y', 'b')), /first child/)
  t.same(merged(branch('a', 'b'), branch('x', 'b'), branch('a', 'b', 'c')), ['x', 'b', 'c'])
  t.same(merged(branch('a', 'b'), branch('a', 'b', 'c'), branch('x', 'b')), ['x', 'b', 'c'])
  t.end()
})

t.test('two transactions may split different leaves of one branch beside each other', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.tree = BTree.from(Array.from({ length: 640 }, (_, i) => [i * 2, i]))
  })
  const connections = [5, 401, 1201].map(key => {
    const connection = db.open()
    connection.root.tree.set(key, 'new')
    return connection
  })
  for (const connection of connections) await connection.transaction.commit()
  await db.transact(root => {
    t.equal([...root.tree.keys()].length, 643)
    for (const key of [5, 401, 1201]) t.equal(root.tree.get(key), 'new')
  })
  for (const connection of connections) connection.close()
  await db.close()
})

t.test('writers that grow and empty a large tree beside each other leave what each of them did', async t => {
  const db = await openTestDatabase()
  const model = new Map<number, number>()
  let seed = 1
  const random = (below: number) => {
    seed = (seed * 48_271) % 2_147_483_647
    return seed % below
  }
  for (let round = 0; round < 40; round++)
    await Promise.all(
      Array.from({ length: 8 }, (_, writer) => {
        const ops: Ops = Array.from({ length: 60 }, () => [round % 10 < 6, random(1500) * 8 + writer, random(100)])
        for (const [add, key, value] of ops) add ? model.set(key, value) : model.delete(key)
        const from = writer * 100 + 2000 * (round % 5)
        const emptied =
          round % 10 < 6 ? [] : [...model.keys()].filter(k => k % 8 === writer && k >= from && k < from + 800)
        for (const key of emptied) model.delete(key)
        return db.transact(
          async root => {
            await new Promise(setImmediate)
            for (const [add, key, value] of ops) add ? root.tree.set(key, value) : root.tree.delete(key)
            for (const key of emptied) root.tree.delete(key)
          },
          { attempts: 1 },
        )
      }),
    )
  await db.transact(root => {
    t.same(
      [...root.tree],
      [...model].sort(([a], [b]) => a - b),
    )
    t.equal(root.tree.size, model.size)
    for (const [key, value] of model) t.equal(root.tree.get(key), value)
  })
  await db.close()
})

t.test('transactions beside each other may split branches and make the tree higher', async t => {
  const db = await openTestDatabase()
  const full = 128 * 64
  await db.transact(root => {
    root.tree = BTree.from(Array.from({ length: full }, (_, i) => [i * 10, { number: i }]))
    root.any = new BTree()
  })
  const connections = [1, 2, 3, 4].map(n => {
    const connection = db.open()
    const { tree, any } = connection.root
    for (let i = 0; i < full; i += 16) tree.set(i * 10 + n, { number: n })
    ;(any as BTree).set(n, 'another tree')
    const inner = tree.get(n * 10) as { number: number }
    inner.number = -n
    tree.delete(n * 10 + 4000)
    return connection
  })
  for (const each of connections) await each.transaction.commit()
  for (const each of connections) {
    each.sync()
    const { tree, any } = each.root
    t.equal([...tree.keys()].length, full + 4 * (full / 16) - 4)
    t.equal(tree.size, full + 4 * (full / 16) - 4)
    for (const n of [1, 2, 3, 4]) {
      t.same(
        [tree.get(16 * 50 * 10 + n), tree.get(n * 10), tree.has(n * 10 + 4000)],
        [{ number: n }, { number: -n }, false],
      )
      t.equal((any as BTree).get(n), 'another tree')
    }
    each.close()
  }
  t.same((await db.verify()).problems, [])
  await db.close()
})

class Named extends BTree<Item> {
  name = ''
}
registerClass('NamedTree', Named)

t.test('a tree of objects, of a class of its own: what is doubtful conflicts', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    const tree = new Named()
    for (let i = 0; i < 60; i++) tree.set(i * 10, new Item(`${i}`))
    root.any = tree
  })
  const named = (connection: { root: { any: unknown } }) => connection.root.any as Named
  const insert = (to: Named, offset: number) => {
    for (let i = 0; i < 60; i++) to.set(i * 10 + offset, new Item(`${i} ${offset}`))
  }
  const [a, b, c] = [db.open(), db.open(), db.open()]
  for (const [i, each] of [a, b, c].entries()) insert(named(each), i + 1)
  named(c).name = 'of the third'
  await a.transaction.commit()
  await b.transaction.commit()
  t.equal(await codeOf(() => c.transaction.commit()), 'CONFLICT', 'another attribute of the tree was changed, too')
  await c.transaction.abort()
  t.equal(named(c).size, 180)
  t.same(
    Array.from(named(c).values({ limit: 4 }), item => item.label),
    ['0', '0 1', '0 2', '1'],
  )
  for (const each of [a, b, c]) each.close()
  t.same((await db.verify()).problems, [])
  await db.close()
})

t.test('up to 50 concurrent writers never see a conflict', async t => {
  for (const writers of [2, 10, 50])
    for (const key of [
      (round: number, i: number) => round * 1000 + i,
      (round: number, i: number) => ((round * 50 + i) * 7919) % 100_003,
      (round: number, i: number) => `k${i % 7}-${round}-${i}`,
    ]) {
      const db = await openTestDatabase()
      await db.transact(root => {
        root.tree = BTree.from(Array.from({ length: 64 }, (_, i) => [-1 - i, 0]))
      })
      for (let round = 0; round < 12; round++)
        await Promise.all(
          Array.from({ length: writers }, (_, i) =>
            db.transact(
              async root => {
                if (i % 3 === 0) await new Promise(setImmediate)
                root.tree.set(key(round, i), i)
              },
              { attempts: 1 },
            ),
          ),
        )
      await db.transact(root => t.equal([...root.tree.keys()].length, root.tree.size))
      await db.transact(root => t.equal(root.tree.size, 64 + 12 * writers))
      await db.close()
    }
})

t.test('a million entries are built from sorted input, found, counted and stored', async t => {
  const db = await openTestDatabase()
  const began = performance.now()
  await db.transact(root => {
    root.tree = BTree.from(Array.from({ length: 1_000_000 }, (_, i) => [i, i]))
  })
  t.comment(`built and stored in ${Math.round(performance.now() - began)} ms`)
  await db.transact(root => {
    const { tree } = root
    t.same([tree.size, tree.minKey(), tree.maxKey(), tree.get(777_777)], [1_000_000, 0, 999_999, 777_777])
    t.same([...tree.keys({ to: 500_000, reverse: true, limit: 3 })], [499_999, 499_998, 499_997])
    const walked = performance.now()
    let count = 0
    for (const _ of tree.keys()) count += 1
    t.equal(count, 1_000_000)
    t.comment(`walked through in ${Math.round(performance.now() - walked)} ms`)
    const set = performance.now()
    for (let i = 0; i < 100_000; i++) tree.set((i * 7919) % 1_000_000, 0)
    t.comment(`100,000 values set in ${Math.round(performance.now() - set)} ms`)
  })
  await db.close()
})

t.test('on disk, 50 writers beside each other never see a conflict', async t => {
  const db = await openTestDatabase(await directory(t))
  for (let round = 0; round < 10; round++)
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        db.transact(root => void root.tree.set(`${i * 7919} ${round}`, i), { attempts: 1 }),
      ),
    )
  t.equal(await db.transact(root => root.tree.size), 500)
  await db.close()
})

t.test('of the objects in a leaf only the one that is asked for is made', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.tree = BTree.from(Array.from({ length: 10_000 }, (_, i) => [i, new Item(`item ${i}`)]))
  })
  for (let time = 0; time < 4; time++)
    await db.transact(({ tree, _p_jar }) => {
      const connection = _p_jar as Connection
      const item = tree.get(5000) as Item
      const { objects } = connection.cacheStats
      t.ok(objects < 10, `${objects} objects`)
      t.equal(item.label, 'item 5000')
      t.equal(connection.get(item._p_oid as number), item)
      t.equal(tree.get(5000), item)
      t.equal([...tree.values({ from: 5000, limit: 1 })][0], item)
      t.equal(connection.cacheStats.objects, objects)
    })
  await db.close()
})

t.test('whoever reads the attributes of a node finds objects in them, and values of its own', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.tree = BTree.from(Array.from({ length: 100 }, (_, i) => [i, new Item(`item ${i}`)]))
  })
  for (let time = 0; time < 4; time++) {
    const connection = db.open()
    const { tree } = connection.root
    const { top } = tree as unknown as { top: Branch }
    t.ok(top.children.every(each => each instanceof Leaf))
    const leaf = top.children[0] as Leaf
    const { values } = { ...leaf }
    t.same(
      values.map(each => (each as Item).label),
      leaf.keys.map(key => `item ${key}`),
    )
    t.equal(values[0], tree.get(0))
    leaf.keys.length = 0
    leaf._p_invalidate()
    t.equal(tree.get(0), values[0])
    connection.close()
  }
  await db.close()
})

t.test('a new tree that a transaction took back has its objects still', async t => {
  const [db, other] = [await openTestDatabase(), await openTestDatabase()]
  const connection = db.open()
  const items = Array.from({ length: 300 }, (_, i) => new Item(`item ${i}`))
  const tree = BTree.from(items.map((item, i) => [i, item]))
  connection.root.any = tree
  const savepoint = connection.transaction.savepoint()
  for (let i = 0; i < 300; i += 2) tree.delete(i)
  savepoint.rollback()
  t.equal(tree.get(2), items[2], 'read back from what the savepoint stored')
  await connection.transaction.abort()
  t.equal(tree._p_jar, undefined)
  t.ok(items.every((item, i) => tree.get(i) === item && item._p_jar === undefined))
  await other.transact(root => {
    root.tree = tree
  })
  await other.transact(root =>
    t.same(
      Array.from(root.tree.values(), each => (each as Item).label),
      items.map(({ label }) => label),
    ),
  )
  connection.close()
  await db.close()
  await other.close()
})

t.test('property: a tree of objects is what its transaction sees, and each object is there once', async t => {
  type Step = {
    do: 'set' | 'alias' | 'delete' | 'get' | 'walk' | 'savepoint' | 'rollback' | 'shrink' | 'commit' | 'abort'
    key: number
  }
  const step: fc.Arbitrary<Step> = fc.record({
    do: fc.constantFrom(
      ...(['set', 'set', 'set', 'alias', 'delete', 'delete', 'get', 'get', 'get', 'walk'] as const),
      ...(['savepoint', 'rollback', 'shrink', 'commit', 'commit', 'abort'] as const),
    ),
    key: fc.nat(200),
  })
  type Model = Map<number, string>
  await fc.assert(
    fc.asyncProperty(
      fc.nat(200),
      fc.array(step, { minLength: 30, maxLength: 80, size: 'max' }),
      async (size, steps) => {
        const db = await openTestDatabase()
        let durable: Model = new Map(Array.from({ length: size }, (_, i) => [i, `first ${i}`]))
        await db.transact(root => {
          root.tree = BTree.from(Array.from(durable, ([key, label]) => [key, new Item(label)]))
        })
        const connection = db.open()
        const readers: { connection: ReturnType<typeof db.open>; model: Model }[] = []
        const known = new Map<number, unknown>()
        let mine = new Map(durable)
        let savepoint: { point: { rollback(): void }; model: Model } | undefined
        const check = (root: { tree: BTree }, key: number, model: Model) =>
          t.equal((root.tree.get(key) as Item | undefined)?.label, model.get(key))
        const checkAll = (root: { tree: BTree }, model: Model) =>
          t.same(
            Array.from(root.tree, ([key, item]) => [key, (item as Item).label]),
            [...model].sort(([a], [b]) => a - b),
          )
        for (const [i, { do: what, key }] of steps.entries()) {
          const { tree } = connection.root
          if (what === 'set') {
            tree.set(key, new Item(`${i}`))
            mine.set(key, `${i}`)
          } else if (what === 'alias' && mine.has(key)) {
            tree.set(200 - key, tree.get(key))
            mine.set(200 - key, mine.get(key)!)
          } else if (what === 'delete') t.equal(tree.delete(key), mine.delete(key))
          else if (what === 'get') {
            check(connection.root, key, mine)
            const item = tree.get(key) as Item | undefined
            const oid = item?._p_oid
            if (oid !== undefined) {
              t.equal(known.get(oid) ?? item, item)
              known.set(oid, item)
            }
          } else if (what === 'walk') checkAll(connection.root, mine)
          else if (what === 'savepoint') savepoint = { point: connection.transaction.savepoint(), model: new Map(mine) }
          else if (what === 'rollback' && savepoint !== undefined) {
            savepoint.point.rollback()
            mine = new Map(savepoint.model)
          } else if (what === 'shrink') connection.cacheMinimize()
          else if (what === 'commit') {
            await connection.transaction.commit()
            durable = new Map(mine)
            savepoint = undefined
            if (readers.length < 4) readers.push({ connection: db.open(), model: durable })
          } else if (what === 'abort') {
            await connection.transaction.abort()
            mine = new Map(durable)
            savepoint = undefined
            known.clear()
          }
          for (const reader of readers) check(reader.connection.root, key, reader.model)
        }
        checkAll(connection.root, mine)
        for (const reader of readers) {
          checkAll(reader.connection.root, reader.model)
          reader.connection.close()
        }
        await connection.transaction.abort()
        connection.close()
        t.same((await db.verify()).problems, [])
        await db.close()
      },
    ),
    { numRuns: 40 },
  )
})
