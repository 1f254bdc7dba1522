/** Transactions: conflict and retry, savepoints, hooks, data managers, isolation. */

import t from 'tap'
import {
  type Connection,
  type DataManager,
  ObjectError,
  Persistent,
  registerClass,
  type Transaction,
} from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase } from '../support/database.ts'
import { fc } from '../support/properties.ts'

t.test('of two stale writers the second gets CONFLICT, and the first value stays', async t => {
  const db = await openTestDatabase()
  const [a, b] = [db.open(), db.open()]
  a.root.n = 1
  b.root.n = 2
  await a.transaction.commit()
  await t.rejects(b.transaction.commit(), { code: 'CONFLICT', message: /Root \(object 1\).*run the transaction again/ })
  t.equal(await codeOf(() => b.transaction.commit()), 'TRANSACTION_FAILED', 'a failed transaction has to be aborted')
  await b.transaction.abort()
  t.equal(b.root.n, 1)
  a.close()
  b.close()
  await db.close()
})

t.test('a reader sees the state of its beginning until its next transaction', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    root.any = new Item('old')
  })
  const reader = db.open()
  for (const label of ['newer', 'newest'])
    await db.transact(root => {
      root.n += 1
      ;(root.any as Item).label = label
    })
  t.equal((reader.root.any as Item).label, 'old')
  t.equal(reader.root.n, 0)
  reader.sync()
  t.equal((reader.root.any as Item).label, 'newest')
  t.equal(reader.root.n, 2)
  reader.close()
  await db.close()
})

t.test('transact runs again on conflict, on fresh objects, and gives up after its attempts', async t => {
  const db = await openTestDatabase()
  let runs = 0
  const interfere = () =>
    db.transact(root => {
      root.n += 10
    })
  await db.transact(async root => {
    runs += 1
    root.n += 1
    if (runs < 3) await interfere()
  })
  t.equal(runs, 3)
  await db.transact(root => t.equal(root.n, 21))
  runs = 0
  t.equal(
    await codeOf(() =>
      db.transact(
        async root => {
          runs += 1
          root.n += 1
          await interfere()
        },
        { attempts: 2 },
      ),
    ),
    'CONFLICT',
  )
  t.equal(runs, 2)
  t.equal(await codeOf(() => db.transact(() => 1, { attempts: 0 })), 'INVALID_ARGUMENT')
  await db.close()
})

t.test('other errors abort at once and come out as they are', async t => {
  const db = await openTestDatabase()
  const failure = new Error('mine')
  let runs = 0
  await t.rejects(
    db.transact((root, tx) => {
      runs += 1
      root.n = 5
      tx.beforeAbort(() => {
        throw new Error('another')
      })
      throw failure
    }),
    failure,
  )
  t.equal(runs, 1)
  await db.transact(root => t.equal(root.n, 0))
  await db.close()
})

t.test('100 concurrent increments all count', async t => {
  const db = await openTestDatabase()
  await Promise.all(
    Array.from({ length: 100 }, () =>
      db.transact(
        root => {
          root.n += 1
        },
        { attempts: 1000 },
      ),
    ),
  )
  await db.transact(root => t.equal(root.n, 100))
  await db.close()
})

t.test('abort takes everything back, and new objects are free again', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const item = new Item('new')
  connection.root.any = item
  connection.root.list.push(1)
  connection.add(item)
  t.type(item._p_oid, 'number')
  await connection.transaction.abort()
  t.equal(item._p_oid, undefined)
  t.equal(item._p_jar, undefined)
  t.equal(item.label, 'new')
  t.same(connection.root.list, [])
  connection.root.any = item
  await connection.transaction.commit()
  connection.close()
  await db.transact(root => t.equal((root.any as Item).label, 'new'))
  await db.close()
})

t.test('a connection with changes refuses to be closed or synced', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  connection.root.list.push(1)
  t.equal(await codeOf(() => connection.close()), 'CONNECTION_DIRTY')
  t.equal(await codeOf(() => connection.sync()), 'CONNECTION_DIRTY')
  await connection.transaction.abort()
  connection.close()
  t.equal(await codeOf(() => connection.root), 'CONNECTION_CLOSED')
  await db.close()
})

t.test('a connection for reading refuses changes', async t => {
  const db = await openTestDatabase()
  const connection = db.open({ readOnly: true })
  t.equal(
    await codeOf(() => {
      connection.root.n = 1
    }),
    'READ_ONLY',
  )
  t.equal(connection.root.n, 0)
  connection.close()
  await db.close()
})

t.test('an empty transaction writes nothing', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const before = connection.root._p_serial
  await db.transact(root => root.n)
  await connection.transaction.commit()
  t.equal(connection.root._p_serial, before)
  connection.close()
  await db.close()
})

t.test('savepoints nest, can be rolled back twice, and end with an earlier rollback or the transaction', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const { root, transaction } = connection
  root.list.push('a')
  const first = transaction.savepoint()
  root.list.push('b')
  const item = new Item('in between')
  root.any = item
  const second = transaction.savepoint()
  root.list.push('c')
  item.label = 'changed'
  second.rollback()
  t.same(root.list, ['a', 'b'])
  t.equal(item.label, 'in between')
  root.list.push('d')
  second.rollback()
  t.same(root.list, ['a', 'b'])
  first.rollback()
  t.same(root.list, ['a'])
  t.equal(root.any, undefined)
  t.equal(item._p_oid, undefined)
  t.equal(item.label, 'in between', 'an object that is free again keeps its state')
  t.equal(await codeOf(() => second.rollback()), 'SAVEPOINT_INVALID')
  root.list.push('e')
  await transaction.commit()
  t.equal(await codeOf(() => first.rollback()), 'TRANSACTION_FAILED')
  connection.close()
  await db.transact(root => t.same(root.list, ['a', 'e']))
  await db.close()
})

t.test('property: any sequence of changes, savepoints and rollbacks leaves what a model leaves', async t => {
  type Op = { do: 'push' | 'set' | 'nest' | 'save' | 'back'; n: number }
  const op = fc.record({ do: fc.constantFrom('push', 'set', 'nest', 'save', 'back'), n: fc.nat(5) }) as fc.Arbitrary<Op>
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 30 }), fc.boolean(), async (ops, commit) => {
      const db = await openTestDatabase()
      const connection = db.open()
      let model: { n: number; list: number[]; nested: Record<string, number> } = { n: 0, list: [], nested: {} }
      const saved: { model: typeof model; rollback(): void }[] = []
      for (const { do: action, n } of ops) {
        const { root, transaction } = connection
        if (action === 'push') {
          root.list.push(n)
          model.list.push(n)
        } else if (action === 'set') {
          root.n = n
          model.n = n
        } else if (action === 'nest') {
          root.tree.set(`k${n}`, root.list.length)
          model.nested[`k${n}`] = model.list.length
        } else if (action === 'save') {
          saved.push({ model: structuredClone(model), rollback: transaction.savepoint().rollback })
        } else if (saved.length > 0) {
          const at = n % saved.length
          saved[at]!.rollback()
          model = structuredClone(saved[at]!.model)
          saved.splice(at + 1)
        }
      }
      if (commit) await connection.transaction.commit()
      else {
        await connection.transaction.abort()
        model = { n: 0, list: [], nested: {} }
      }
      connection.close()
      const stored = await db.transact(root => ({
        n: root.n,
        list: root.list,
        nested: Object.fromEntries(root.tree.entries()),
      }))
      await db.close()
      t.strictSame(stored, model)
      return true
    }),
    { numRuns: 150 },
  )
})

t.test(
  'an inner value that was taken out before or after a savepoint stays part of its object through a rollback',
  async t => {
    const db = await openTestDatabase()
    const sample = () => ({
      list: [{ n: 1 }, { n: 2 }],
      map: new Map([['k', [1]]]),
      date: new Date(0),
      bytes: new Uint8Array(2),
    })
    await db.transact(root => void (root.any = sample()))
    for (const takenFirst of [true, false]) {
      const connection = db.open()
      const { root, transaction } = connection
      const take = () => {
        const { list, map, date, bytes } = root.any as ReturnType<typeof sample>
        return { list, second: list[1]!, map, inner: map.get('k')!, date, bytes }
      }
      const before = takenFirst ? take() : undefined
      if (before !== undefined) before.second.n = 3
      const savepoint = transaction.savepoint()
      const { list, second, map, inner, date, bytes } = before ?? take()
      for (let turn = 0; turn < 2; turn++) {
        list.shift()
        list.push({ n: 9 })
        map.delete('k')
        inner.length = 0
        date.setFullYear(1999)
        bytes.fill(7)
        transaction.savepoint()
        root.n = 5
        second.n = 10
        savepoint.rollback()
        t.same(root.any, { ...sample(), list: [{ n: 1 }, { n: takenFirst ? 3 : 2 }] })
        t.equal((root.any as ReturnType<typeof sample>).list[1], second)
      }
      second.n = 20
      list.push({ n: 30 })
      inner.push(2)
      date.setTime(5)
      bytes[1] = 1
      await transaction.commit()
      second.n += 1
      await connection.transaction.commit()
      connection.close()
      t.same(await db.transact(({ any }) => any), {
        list: [{ n: 1 }, { n: 21 }, { n: 30 }],
        map: new Map([['k', [1, 2]]]),
        date: new Date(5),
        bytes: new Uint8Array([0, 1]),
      })
      await db.transact(root => void (root.any = sample()))
    }
    await db.close()
  },
)

t.test('property: inner values that are kept hold what the object holds, whatever is rolled back', async t => {
  type Op = readonly [what: 'push' | 'drop' | 'nest' | 'swap' | 'replace' | 'save' | 'back', n: number]
  const op = fc.tuple(
    fc.constantFrom('push', 'drop', 'nest', 'swap', 'replace', 'save', 'back'),
    fc.nat(4),
  ) as fc.Arbitrary<Op>
  type Nested = (number | Nested)[]
  await fc.assert(
    fc.asyncProperty(fc.array(op, { maxLength: 40 }), async ops => {
      const db = await openTestDatabase()
      await db.transact(root => void (root.any = [[1], [2, [3]]]))
      const connection = db.open()
      const { root, transaction } = connection
      const held = new Set<Nested>()
      const hold = (value: unknown) => {
        if (!Array.isArray(value) || held.has(value)) return
        held.add(value)
        value.forEach(hold)
      }
      hold(root.any)
      const points: { rollback(): void; state: string }[] = []
      for (const [what, n] of ops) {
        const one = [...held][n % held.size]!
        if (what === 'push') one.push(n)
        else if (what === 'drop') one.splice(n % 2, 1)
        else if (what === 'nest' && held.size < 12) one.push([n])
        else if (what === 'swap') one.reverse()
        else if (what === 'replace') root.any = [root.any as Nested, n].slice(n % 2)
        else if (what === 'save') points.push({ ...transaction.savepoint(), state: JSON.stringify(root.any) })
        else if (what === 'back' && points.length > 0) {
          const at = n % points.length
          points.splice(at + 1)
          points[at]!.rollback()
          t.equal(JSON.stringify(root.any), points[at]!.state)
        }
        if (Array.isArray(root.any)) hold(root.any)
      }
      const expected = JSON.stringify(root.any)
      await transaction.commit()
      connection.close()
      t.equal(JSON.stringify(await db.transact(({ any }) => any)), expected)
      await db.close()
    }),
    { numRuns: 300 },
  )
})

t.test(
  'a rollback takes back what was done to an inner value before it was frozen, or made an object without a prototype',
  async t => {
    const db = await openTestDatabase()
    await db.transact(root => {
      root.list = [1, [2]]
      root.record = { a: 1, b: { c: 1 } }
      root.any = [{ bare: false }, new Date(5), new Map([[1, [1]]])]
    })
    const connection = db.open()
    const { root, transaction } = connection
    const [bare, date, map] = root.any as [Record<string, unknown>, Date, Map<number, number[]>]
    const { list, record } = root
    const [inList, inRecord] = [list[1] as number[], record.b as Record<string, unknown>]
    const savepoint = transaction.savepoint()
    record.a = 2
    inRecord.c = 2
    Object.freeze(record)
    list.push(3)
    inList.push(3)
    Object.defineProperty(list, 0, { value: 9, configurable: false })
    bare.bare = true
    Object.setPrototypeOf(bare, null)
    date.setTime(7)
    map.get(1)?.push(7)
    Object.freeze(map)
    savepoint.rollback()
    const before = [[1, [2]], { a: 1, b: { c: 1 } }, [{ bare: false }, new Date(5), new Map([[1, [1]]])]]
    t.strictSame([root.list, root.record, root.any], before)
    t.equal(Object.getPrototypeOf(bare), Object.prototype)
    t.ok(root.list[1] === inList && root.record.b === inRecord && (root.any as unknown[])[0] === bare)
    inRecord.c = 3
    bare.more = 1
    await transaction.commit()
    connection.close()
    await db.transact(({ list, record, any }) => {
      t.strictSame([list, record], [[1, [2]], { a: 1, b: { c: 3 } }])
      t.strictSame((any as unknown[])[0], { bare: false, more: 1 })
    })
    await db.close()
  },
)

t.test(
  'an inner value that was frozen or sealed since a savepoint is still its own after the rollback, or that is refused',
  async t => {
    type Sample = Record<string, unknown> & { b: number[] }
    const db = await openTestDatabase()
    const outcomeOf = async (spoil: (kept: Sample) => void): Promise<string> => {
      await db.transact(root => void (root.any = { a: 1, b: [1] }))
      const connection = db.open()
      const { root, transaction } = connection
      const kept = root.any as Sample
      const before = JSON.stringify(kept)
      const savepoint = transaction.savepoint()
      spoil(kept)
      const code = await codeOf(() => savepoint.rollback())
      if (code !== undefined) {
        t.equal(await codeOf(() => transaction.commit()), 'TRANSACTION_FAILED')
        await transaction.abort()
        connection.close()
        return code
      }
      t.equal(JSON.stringify(root.any), before)
      if (root.any !== kept) {
        t.throws(() => Object.assign(kept, { a: 8 }), TypeError, 'nothing is lost in silence')
        connection.close()
        return 'another'
      }
      kept.b.push(9)
      if (Object.isExtensible(kept)) kept.z = 9
      const after = JSON.stringify(kept)
      await transaction.commit()
      connection.close()
      t.equal(JSON.stringify(await db.transact(({ any }) => any)), after)
      return 'kept'
    }
    const define =
      (attributes: PropertyDescriptor, key = 'a') =>
      (kept: Sample) =>
        void Object.defineProperty(kept, key, attributes)
    for (const [outcome, spoils] of [
      [
        'kept',
        [
          Object.freeze,
          Object.seal,
          Object.preventExtensions,
          define({ configurable: false }),
          define({ configurable: false, value: 7 }),
          define({ configurable: false, writable: false }),
          define({ writable: false, value: 7 }),
          define({ get: () => 5 }),
          ({ b }: Sample) => Object.defineProperty(b, 0, { value: 7, configurable: false }),
        ],
      ],
      ['another', [(kept: Sample) => Object.freeze(Object.assign(kept, { a: 2 }))]],
      [
        'TRANSACTION_FAILED',
        [
          define({ configurable: false, writable: false, value: 7 }),
          define({ configurable: false, get: () => 5 }),
          define({ value: 5, enumerable: true }, 'new'),
          (kept: Sample) => Object.seal(Object.assign(kept, { new: 1 })),
          ({ b }: Sample) => void Object.defineProperty(b, b.push(2), { value: 5 }),
          ({ b }: Sample) => void Object.defineProperty(b, 'length', { value: 3, writable: false }),
        ],
      ],
    ] as [string, ((kept: Sample) => unknown)[]][])
      for (const spoil of spoils) t.equal(await outcomeOf(spoil), outcome, String(spoil))
    await db.close()
  },
)

t.test('a rollback is refused where upgrading makes other inner values than those that are in use', async t => {
  class Fickle extends Persistent {
    list: unknown[] = []
  }
  registerClass('tests.Fickle', Fickle)
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = new Fickle()))
  let made = 0
  registerClass('tests.Fickle', Fickle, { version: 2, upgrade: () => ({ list: made++ === 0 ? [] : [[]] }) })
  const connection = db.open()
  const { root, transaction } = connection
  const { list } = root.any as Fickle
  const savepoint = transaction.savepoint()
  list.push(1)
  await t.rejects(async () => savepoint.rollback(), { code: 'TRANSACTION_FAILED', message: /upgrading made another/ })
  await connection.abandon()
  await db.close()
})

function recorder(events: string[], name: string, extra: Partial<DataManager> = {}): DataManager {
  return {
    sortKey: name,
    prepare: () => void events.push(`prepare ${name}`),
    finish: () => void events.push(`finish ${name}`),
    abort: () => void events.push(`abort ${name}`),
    ...extra,
  }
}

t.test('data managers prepare in the order of their keys and finish once it is durable', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  await db.transact((root, tx) => {
    root.n = 1
    tx.join(recorder(events, 'b'))
    tx.join(recorder(events, 'a'))
    tx.beforeCommit(() => void events.push('before'))
    tx.afterCommit(ok => void events.push(`after ${ok}`))
  })
  t.same(events, ['before', 'prepare a', 'prepare b', 'finish a', 'finish b', 'after true'])
  await db.close()
})

t.test('if one data manager refuses, all abort and nothing is stored', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  const refusal = new Error('no')
  await t.rejects(
    db.transact((root, tx) => {
      root.n = 1
      tx.outbox.set('row', Buffer.from('x'))
      tx.join(recorder(events, 'a'))
      tx.join(recorder(events, 'b', { prepare: () => Promise.reject(refusal) }))
      tx.afterCommit(ok => void events.push(`after ${ok}`))
    }),
    refusal,
  )
  t.same(events, ['prepare a', 'after false', 'abort a', 'abort b'])
  await db.transact(root => t.equal(root.n, 0))
  for await (const [key] of db.outbox.outboxRows('')) t.fail(`row ${key}`)
  await db.close()
})

t.test('errors of hooks and of finish are reported as warnings and harm nothing', async t => {
  const db = await openTestDatabase()
  const warnings: string[] = []
  const listen = (warning: Error) => warnings.push(warning.message)
  process.on('warning', listen)
  const fail = () => {
    throw new Error('broken')
  }
  await db.transact((root, tx) => {
    root.n = 1
    tx.afterCommit(fail)
    tx.join({ sortKey: 'x', finish: fail })
  })
  await new Promise(resolve => setImmediate(resolve))
  process.off('warning', listen)
  t.match(warnings, ['finish of a data manager failed: broken', 'an afterCommit hook failed: broken'])
  await db.transact(root => t.equal(root.n, 1))
  await db.close()
})

t.test('a data manager without savepoints makes a rollback an error that demands an abort', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const tx = connection.transaction
  tx.join({ sortKey: 'rigid' })
  const savepoint = tx.savepoint()
  t.equal(await codeOf(() => savepoint.rollback()), 'TRANSACTION_FAILED')
  t.equal(await codeOf(() => tx.commit()), 'TRANSACTION_FAILED')
  await tx.abort()
  connection.close()
  await db.close()
})

t.test('a data manager that joined after the savepoint leaves with the rollback', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  await db.transact((root, tx) => {
    root.n = 1
    const savepoint = tx.savepoint()
    tx.join(recorder(events, 'late'))
    savepoint.rollback()
  })
  t.same(events, ['abort late'])
  await db.close()
})

t.test('a role has one data manager, which is made anew after it left with a rollback', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  let made = 0
  const joined = (tx: Transaction) => tx.joined('role', 'work', () => recorder(events, `number ${++made}`))
  await db.transact((root, tx) => {
    root.n = 1
    const savepoint = tx.savepoint()
    t.equal(joined(tx), joined(tx))
    savepoint.rollback()
    joined(tx)
  })
  t.same(events, ['abort number 1', 'prepare number 2', 'finish number 2'])
  const connection = db.open()
  const { transaction } = connection
  await transaction.commit()
  t.throws(() => joined(transaction), { code: 'TRANSACTION_FAILED', message: /^work: / })
  connection.close()
  await db.close()
})

t.test('a doomed transaction refuses to commit', async t => {
  const db = await openTestDatabase()
  t.equal(
    await codeOf(() =>
      db.transact((root, tx) => {
        root.n = 1
        tx.doom()
      }),
    ),
    'TRANSACTION_DOOMED',
  )
  await db.transact(root => t.equal(root.n, 0))
  await db.close()
})

t.test('changes while the commit is being written are refused, not lost', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  connection.root.n = 1
  const done = connection.transaction.commit()
  await undefined
  await undefined
  t.equal(
    await codeOf(() => {
      connection.root.n = 2
    }),
    'TRANSACTION_FAILED',
  )
  await done
  connection.root.n = 3
  await connection.transaction.commit()
  connection.close()
  await db.transact(root => t.equal(root.n, 3))
  await db.close()
})

t.test('work may end its transaction itself', async t => {
  const db = await openTestDatabase()
  const end = (action: (tx: Transaction) => Promise<void>) =>
    db.transact(async (root, tx) => {
      root.n += 1
      await action(tx)
      return 'done'
    })
  t.equal(await end(tx => tx.abort()), 'done')
  await db.transact(root => t.equal(root.n, 0))
  t.equal(await end(tx => tx.commit()), 'done')
  await db.transact(root => t.equal(root.n, 1))
  await db.close()
})

t.test('what work changes after it ended its transaction itself is an error, not lost', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  for (const end of ['commit', 'abort'] as const) {
    const run = db.transact(async (root, tx) => {
      root.n = 1
      await tx[end]()
      root.list.push(2)
      ;(root._p_jar as Connection).transaction.join(recorder(events, end))
    })
    await t.rejects(run, { code: 'CONNECTION_DIRTY', message: /ended its transaction itself.*another transact/ }, end)
  }
  t.same(events, ['abort commit', 'abort abort'])
  await db.transact(async (root, tx) => {
    root.n = 2
    await tx.commit()
    root.list.push(3)
    await (root._p_jar as Connection).transaction.commit()
  })
  await db.transact(root => t.same([root.n, root.list], [2, [3]]))
  await db.close()
})

t.test('transact waits for a commit that work has begun, and ends as it does', async t => {
  const db = await openTestDatabase()
  await db.transact((root, tx) => {
    root.n = 1
    void tx.commit()
  })
  await db.transact(root => t.equal(root.n, 1))
  const run = db.transact((_, tx) => {
    tx.beforeCommit(() => Promise.reject(new Error('refused')))
    void tx.commit().catch(() => undefined)
  })
  await t.rejects(run, { message: 'refused' })
  await db.close()
})

t.test('what is no hook, no data manager and no work is refused when it is given', async t => {
  const db = await openTestDatabase()
  const { transaction } = db.open()
  for (const kind of ['beforeCommit', 'afterCommit', 'beforeAbort', 'afterAbort'] as const)
    t.throws(() => transaction[kind]('later' as never), {
      code: 'INVALID_ARGUMENT',
      message: `${kind}: expected a function, found 'later'`,
    })
  for (const manager of [{}, { sortKey: 7 }, undefined])
    t.throws(() => transaction.join(manager as never), { code: 'INVALID_ARGUMENT', message: /needs a sortKey/ })
  await t.rejects(db.transact(undefined as never), { code: 'INVALID_ARGUMENT', message: /expected a function/ })
  await db.close()
})

t.test('an abort takes everything back, whatever fails in it, and hides no error', async t => {
  const db = await openTestDatabase()
  const events: string[] = []
  let asked = 0
  const moody: DataManager = {
    get sortKey() {
      asked += 1
      if (asked > 1) throw new Error('asked again')
      return 'a'
    },
    abort: () => void events.push('abort a'),
  }
  const run = db.transact((root, tx) => {
    root.n = 1
    tx.join(recorder(events, 'b', { abort: () => Promise.reject(new Error('abort failed')) }))
    tx.join(moody)
    tx.join(recorder(events, 'c'))
    tx.afterAbort(() => void events.push('hook'))
    throw new Error('mine')
  })
  await t.rejects(run, { message: 'mine' })
  t.same(events, ['abort a', 'abort c', 'hook'])
  await db.transact(root => t.equal(root.n, 0))
  const last = db.transact(async (root, tx) => {
    root.n = 2
    tx.afterAbort(() => void events.push('after close'))
    await db.close()
    throw new Error('mine, too')
  })
  await t.rejects(last, { message: 'mine, too' })
  t.equal(events.at(-1), 'after close')
})

t.test('a transaction that has failed says why when it is used again', async t => {
  const db = await openTestDatabase()
  const connection = db.open()
  const { transaction } = connection
  const cause = new Error('no room')
  transaction.beforeCommit(() => Promise.reject(cause))
  await t.rejects(transaction.commit(), cause)
  t.throws(() => transaction.savepoint(), {
    code: 'TRANSACTION_FAILED',
    message: /has failed \(no room\); abort/,
    cause,
  })
  await transaction.abort()
  t.throws(() => transaction.doom(), { code: 'TRANSACTION_FAILED', message: /was aborted; begin another/ })
  connection.close()
  await db.close()
})

t.test('a closed database refuses, after finishing what was under way', async t => {
  const db = await openTestDatabase()
  const under = db.transact(root => {
    root.n = 1
  })
  await under
  await db.close()
  await db.close()
  t.equal(await codeOf(() => db.transact(() => 1)), 'DATABASE_CLOSED')
  t.ok(new ObjectError('CONFLICT', 'x') instanceof Error)
})

t.test('transact runs again for an error that is marked retryable, and for no other', async t => {
  const db = await openTestDatabase()
  for (const [retryable, attempts] of [
    [true, 3],
    [false, 1],
    ['yes', 1],
  ] as const) {
    let count = 0
    const work = () => {
      count += 1
      throw Object.assign(new Error('busy'), { retryable })
    }
    await t.rejects(db.transact(work), /busy/)
    t.equal(count, attempts)
  }
  await db.close()
})
