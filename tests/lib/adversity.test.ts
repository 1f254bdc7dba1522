/** Transactions under programs that do things at the wrong moment, and classes whose functions return what they should not. */
import t from 'tap'
import { Blob, Broken, ObjectError, Persistent, registerClass } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase } from '../support/database.ts'
import { directory } from '../support/program.ts'
import { unregisterClass } from '../support/registry.ts'

process.removeAllListeners('warning')
const nextTurn = () => new Promise(resolve => setImmediate(resolve))

t.test('an abort while the commit is being written waits for it, and takes nothing back that is durable', async t => {
  const db = await openTestDatabase(await directory(t))
  const c = db.open()
  const blob = new Blob()
  c.root.any = blob
  await c.transaction.commit()
  await blob.write('a content')
  c.root.n = 7
  const tx = c.transaction
  let aborted = 0
  let prepared = false
  tx.join({
    sortKey: 'z',
    prepare() {
      prepared = true
    },
    abort: () => void aborted++,
  })
  const commit = tx.commit()
  while (!prepared) await null
  for (let i = 0; i < 10; i++) await null
  t.equal(tx.status, 'committing', 'the disk has not answered yet')
  await Promise.all([commit, tx.abort(), tx.abort()])
  t.equal(tx.status, 'committed')
  t.equal(aborted, 0)
  c.close()
  t.same(await db.transact(async root => [root.n, String(await (root.any as Blob).bytes())]), [7, 'a content'])
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test('a listener that fails makes no durable commit fail, and stops no other listener', async t => {
  const db = await openTestDatabase()
  const heard: number[] = []
  db.storage.onCommit(() => {
    throw new Error('a listener')
  })
  db.storage.onCommit(({ tid }) => void heard.push(tid))
  await db.transact(root => {
    root.n = 1
  })
  t.same(heard, [db.storage.lastTid])
  t.equal(await db.transact(root => root.n), 1)
  await db.close()
})

t.test('an abort while data managers prepare makes the commit fail, which takes everything back', async t => {
  const db = await openTestDatabase()
  const c = db.open()
  c.root.n = 7
  const tx = c.transaction
  const heard: string[] = []
  tx.join({
    sortKey: 'a',
    prepare: async () => {
      await tx.abort()
      await nextTurn()
    },
    abort: () => void heard.push('abort'),
    finish: () => void heard.push('finish'),
  })
  tx.afterCommit(committed => void heard.push(`committed ${committed}`))
  t.equal(await codeOf(() => tx.commit()), 'TRANSACTION_FAILED')
  t.equal(tx.status, 'aborted')
  t.same(heard, ['committed false', 'abort'])
  t.equal(c.root.n, 0)
  c.close()
  await db.close()
})

t.test('an abort by a hook before the commit is one, and hooks run once, whoever calls when', async t => {
  const db = await openTestDatabase()
  const counts = { before: 0, after: 0, beforeAbort: 0, afterAbort: 0 }
  const begin = () => {
    const c = db.open()
    c.root.n += 1
    const tx = c.transaction
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) counts[name] = 0
    tx.beforeCommit(async () => {
      counts.before += 1
      await nextTurn()
    })
    tx.afterCommit(() => void counts.after++)
    tx.beforeAbort(async () => {
      counts.beforeAbort += 1
      await tx.abort()
      t.equal(await codeOf(() => tx.commit()), 'TRANSACTION_FAILED')
    })
    tx.afterAbort(() => void counts.afterAbort++)
    return { c, tx }
  }
  {
    const { c, tx } = begin()
    tx.beforeCommit(() => tx.abort())
    t.equal(await codeOf(() => tx.commit()), 'TRANSACTION_FAILED')
    t.equal(tx.status, 'aborted')
    t.same(counts, { before: 1, after: 1, beforeAbort: 1, afterAbort: 1 })
    c.close()
  }
  {
    const { c, tx } = begin()
    const results = await Promise.allSettled([tx.commit(), tx.commit()])
    t.same(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected'],
    )
    t.same(counts, { before: 1, after: 1, beforeAbort: 0, afterAbort: 0 })
    c.close()
  }
  {
    const { c, tx } = begin()
    await Promise.all([tx.abort(), tx.abort()])
    t.same(counts, { before: 0, after: 0, beforeAbort: 1, afterAbort: 1 })
    c.close()
  }
  t.equal(await db.transact(root => root.n), 1)
  await db.close()
})

t.test('all data managers that joined after a savepoint leave with its rollback', async t => {
  const db = await openTestDatabase()
  const heard: string[] = []
  const manager = (name: string) => ({
    sortKey: name,
    finish: () => void heard.push(`finish ${name}`),
    abort: () => void heard.push(`abort ${name}`),
    savepoint: () => ({ rollback: () => void heard.push(`rollback ${name}`) }),
  })
  await db.transact((root, tx) => {
    root.n = 1
    tx.join(manager('before'))
    const point = tx.savepoint()
    for (const name of ['a', 'b', 'c']) tx.join(manager(name))
    point.rollback()
  })
  t.same(heard, ['rollback before', 'abort a', 'abort b', 'abort c', 'finish before'])
  await db.close()
})

t.test('a data manager that fails to go back leaves a transaction that demands an abort', async t => {
  const db = await openTestDatabase()
  await t.rejects(
    db.transact(async (root, tx) => {
      root.n = 1
      tx.join({
        sortKey: 'x',
        savepoint: () => ({
          rollback() {
            throw new Error('cannot')
          },
        }),
      })
      const point = tx.savepoint()
      root.n = 2
      t.throws(() => point.rollback(), { message: 'cannot' })
      t.equal(tx.status, 'failed')
      await tx.commit()
    }),
    { code: 'TRANSACTION_FAILED', message: /abort it/ },
  )
  t.equal(await db.transact(root => root.n), 0)
  await db.close()
})

t.test('a connection is not closed while something joined its transaction: that would be lost', async t => {
  const db = await openTestDatabase()
  const c = db.open()
  c.transaction.join({ sortKey: 'mail' })
  t.equal(await codeOf(() => c.close()), 'CONNECTION_DIRTY')
  t.equal(await codeOf(() => c.sync()), 'CONNECTION_DIRTY')
  await c.transaction.abort()
  c.transaction.outbox.set('k', Buffer.from('v'))
  t.equal(await codeOf(() => c.close()), 'CONNECTION_DIRTY')
  await c.transaction.commit()
  c.close()
  await db.close()
})

t.test('an error of the database that is marked retryable is retried, and nothing masks an error', async t => {
  const db = await openTestDatabase()
  let runs = 0
  await db.transact(root => {
    root.n = ++runs
    if (runs < 2) throw Object.assign(new ObjectError('NOT_FOUND', 'not yet'), { retryable: true })
  })
  t.equal(await db.transact(root => root.n), 2)
  const failing = () => {
    throw new Error('the abort fails too')
  }
  await t.rejects(
    db.transact((_, tx) => {
      tx.join({ sortKey: 'x', abort: failing })
      tx.beforeAbort(failing)
      tx.afterAbort(failing)
      tx.afterCommit(failing)
      throw new Error('mine')
    }),
    { message: 'mine' },
  )
  for (const thrown of ['text', null, undefined]) {
    const caught = await db.transact(() => Promise.reject(thrown)).catch(error => [error])
    t.same(caught, [thrown])
  }
  await db.close()
})

class Merging extends Persistent {
  value = 0
  gives = ''
  _p_resolveConflict(_old: object, _committed: object, mine: { gives: string }): unknown {
    return GIVEN[mine.gives]!()
  }
}
registerClass('Merging', Merging as never)
const GIVEN: Record<string, () => unknown> = {
  'an error': () => {
    throw new Error('no')
  },
  null: () => null,
  undefined: () => undefined,
  'a number': () => 5,
  'an array': () => [1],
  'a promise': () => Promise.resolve({ value: 1 }),
  'a promise that fails': () => Promise.reject(new Error('late')),
  'a date': () => new Date(),
  'a function inside': () => ({ value: () => 1 }),
  'a new object inside': () => ({ value: new Item('new') }),
  __proto__: () => JSON.parse('{"__proto__":1}'),
}

t.test('a resolver that throws or gives no state means a plain conflict', async t => {
  const db = await openTestDatabase()
  for (const gives of Object.keys(GIVEN)) {
    await db.transact(root => {
      const it = new Merging()
      it.gives = gives
      root.any = it
    })
    const [a, b] = [db.open(), db.open()]
    ;(a.root.any as Merging).value = 1
    ;(b.root.any as Merging).value = 2
    await a.transaction.commit()
    t.equal(await codeOf(() => b.transaction.commit()), 'CONFLICT', gives)
    await b.transaction.abort()
    a.close()
    b.close()
    t.same(await db.transact(root => ({ ...(root.any as Merging) })), { value: 1, gives })
  }
  await db.close()
})

class Changing extends Persistent {
  inner: unknown = { list: [1] }
  other: Persistent | undefined
}

t.test('what a Broken object holds can be read in a transaction, which then changes nothing', async t => {
  registerClass('Changing', Changing)
  const db = await openTestDatabase()
  await db.transact(root => {
    const it = new Changing()
    it.other = root
    root.any = it
  })
  unregisterClass('Changing')
  const before = (await db.undoLog()).length
  await db.transact(root => {
    const it = root.any as Changing
    t.ok(it instanceof Broken)
    t.same(it.inner, { list: [1] })
  })
  t.equal((await db.undoLog()).length, before, 'reading writes nothing')
  await db.transact(root => {
    t.same((root.any as Changing).inner, { list: [1] })
    root.n = 1
  })
  t.equal(
    await codeOf(() => db.transact(root => void (root.any as { inner: { list: number[] } }).inner.list.push(2))),
    'UNKNOWN_CLASS',
    'a change in it is refused all the same',
  )
  registerClass('Changing', Changing)
  t.same(await db.transact(root => (root.any as Changing).inner), { list: [1] })
  await db.close()
})

t.test('an upgrade function that gives no state is an error, and stores nothing', async t => {
  registerClass('Changing', Changing, { version: 1 })
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = new Changing()))
  for (const given of [null, undefined, 5, [1], Promise.resolve({})]) {
    registerClass('Changing', Changing, { version: 2, upgrade: () => given as never })
    t.equal(await codeOf(() => db.transact(root => (root.any as Changing).inner)), 'INVALID_CLASS', String(given))
    t.equal(await codeOf(() => db.upgrade()), 'INVALID_CLASS')
  }
  registerClass('Changing', Changing, { version: 1 })
  t.same(await db.transact(root => (root.any as Changing).inner), { list: [1] })
  await db.close()
})

t.test('an upgrade function that throws is told with its object, and what it gives is not shared', async t => {
  registerClass('Changing', Changing, { version: 1 })
  const db = await openTestDatabase()
  await db.transact(root => {
    for (const name of ['a', 'b']) {
      const changing = new Changing()
      Object.assign(changing, { __parent__: root, __name__: name })
      root.tree.set(name, changing)
    }
  })
  const load = (name = 'a') => db.transact(root => (root.tree.get(name) as Changing).inner)
  const cause = new TypeError('no such field')
  const upgrade = (error: Error) => () => {
    throw error
  }
  registerClass('Changing', Changing, { version: 3, upgrade: upgrade(cause) })
  const message = /'Changing', version 1 to 3, failed: no such field \(object \d+ at \/a\)/
  await t.rejects(load(), { code: 'INVALID_CLASS', message, cause })
  t.equal(await codeOf(() => db.upgrade()), 'INVALID_CLASS')
  registerClass('Changing', Changing, {
    version: 3,
    upgrade: upgrade(Object.assign(new Error('again'), { retryable: true })),
  })
  await t.rejects(load(), { message: 'again', retryable: true })

  const same = Object.freeze({ inner: { list: [3] } })
  registerClass('Changing', Changing, { version: 3, upgrade: () => same })
  await db.transact(root => void ((root.tree.get('a') as Changing).inner = { list: [4] }))
  t.same([await load('a'), await load('b')], [{ list: [4] }, { list: [3] }])
  registerClass('Changing', Changing, { version: 1 })
  await db.close()
})

t.test('reading an object that refers to one of a renamed class writes nothing', async t => {
  class Renamed extends Persistent {}
  registerClass('OldName', Renamed)
  const db = await openTestDatabase()
  await db.transact(root => void (root.list = [new Renamed()]))
  unregisterClass('OldName')
  registerClass('NewName', Renamed, { aliases: ['OldName'] })
  const before = (await db.undoLog()).length
  await db.transact(root => void (root.list[0] as Renamed)._p_oid)
  t.equal((await db.undoLog()).length, before)
  await db.close()
})
