/** The past: revisions, views of it, undo. */
import assert from 'node:assert/strict'
import t from 'tap'
import { Counter, type Database, Persistent, registerClass, type StateRecord, type Tid } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { fc } from '../support/properties.ts'

/** Once on the shelf, always on the shelf. */
class Shelf extends Persistent {
  items: Item[] = []

  _p_resolveConflict(old: StateRecord): StateRecord {
    return old
  }
}
registerClass('Shelf', Shelf)

type Work = (root: Root) => void

/** Commits `work` and gives the transaction's id. */
async function commit(db: Database<Root>, work: Work, note = ''): Promise<Tid> {
  await db.transact(root => work(root), { user: 'ann', note })
  const [entry] = await db.undoLog({ last: 1 })
  return entry!.tid
}

const read = <T>(db: Database<Root>, look: (root: Root) => T): Promise<T> => db.transact(root => look(root))

t.test('history lists the revisions of an object, newest first, with who and why', async t => {
  const db = await openTestDatabase()
  const first = await commit(db, root => void (root.n = 1), 'one')
  const second = await commit(db, root => void (root.n = 2), 'two')
  const revisions = await db.history(1)
  t.same(
    revisions.map(({ tid, user, note }) => [tid, user, note]),
    [
      [second, 'ann', 'two'],
      [first, 'ann', 'one'],
      [revisions[2]!.tid, '', 'created'],
    ],
  )
  t.match(revisions[0], { className: 'Root', version: 1, time: new Date(Math.floor(second / 1000)) })
  t.ok(revisions[0]!.size > 0)
  t.equal((await db.history('/', { size: 2 })).length, 2)
  t.same(await db.history(12345), [])
  await db.close()
})

t.test('a view of the past shows the state of that moment, of every object, and refuses changes', async t => {
  const db = await openTestDatabase()
  const one = await commit(db, root => void (root.any = new Item('a')))
  const two = await commit(db, root => {
    ;(root.any as Item).label = 'b'
    root.n = 2
  })
  const at = db.open({ at: one })
  const before = db.open({ before: two })
  const now = db.open({ at: new Date() })
  await commit(db, root => void (root.n = 3))
  for (const [view, label, n] of [
    [at, 'a', 0],
    [before, 'a', 0],
    [now, 'b', 2],
  ] as const) {
    t.equal((view.root.any as Item).label, label)
    t.equal(view.root.n, n)
    t.equal(await codeOf(() => void (view.root.n = 9)), 'READ_ONLY')
    view.sync()
    t.equal(view.root.n, n, 'it does not move on')
    view.close()
  }
  const created = (await db.history(1)).at(-1)!.tid
  const early = db.open({ before: created })
  t.equal(await codeOf(() => early.root), 'OBJECT_NOT_FOUND')
  early.close()
  for (const options of [{ before: 0 }, { at: 0 }, { before: new Date(0) }, { at: new Date('2001-02-03') }]) {
    const none = db.open(options)
    t.throws(() => none.root, { code: 'OBJECT_NOT_FOUND', message: /as it was at (1970|2001)-.*it was made later/ })
    none.close()
  }
  const future = Date.now() + 60_000
  for (const options of [
    { at: new Date(future) },
    { before: future * 1000 },
    { at: -1 },
    { at: Number.NaN },
    { at: 1, before: 1 },
  ])
    t.equal(await codeOf(() => db.open(options)), 'INVALID_ARGUMENT', JSON.stringify(options))
  await db.close()
})

t.test('undo puts back what a transaction changed, and an undo can be undone', async t => {
  const db = await openTestDatabase()
  await commit(db, root => {
    root.n = 1
    root.list = ['a']
  })
  const second = await commit(db, root => {
    root.list.push('b')
    root.any = new Item('new')
  })
  const undone = await db.undo(second, { user: 'bob', note: 'a mistake' })
  t.same(await read(db, root => [root.list, root.any]), [['a'], undefined])
  t.match((await db.undoLog({ last: 1 }))[0], { tid: undone, user: 'bob', note: 'a mistake' })
  await db.undo(undone)
  t.same(await read(db, root => [root.list, (root.any as Item).label]), [['a', 'b'], 'new'])
  await db.close()
})

t.test('what was changed since cannot be undone alone, but together; a class that merges can', async t => {
  const db = await openTestDatabase()
  await commit(db, root => {
    root.any = new Counter(10)
    root.text = 'first'
  })
  const second = await commit(db, root => {
    root.text = 'second'
    ;(root.any as Counter).change(1)
  })
  const third = await commit(db, root => void (root.text = 'third'))
  const plus = await commit(db, root => void (root.any as Counter).change(100))
  t.equal(await codeOf(() => db.undo(second)), 'UNDO_CONFLICT')
  await t.rejects(db.undo(third, { signal: AbortSignal.abort(new Error('no more')) }), /no more/)
  t.same(await read(db, root => [root.text, (root.any as Counter).value]), ['third', 111], 'nothing was undone')
  await db.undo([second, third])
  t.same(await read(db, root => [root.text, (root.any as Counter).value]), ['first', 110])
  await db.undo(plus)
  t.equal(await read(db, root => (root.any as Counter).value), 10)
  await db.close()
})

t.test('undoing the creation of an object is refused while something refers to it', async t => {
  const db = await openTestDatabase()
  const created = await commit(db, root => void (root.any = new Item('x')))
  await commit(db, root => {
    root.list = [root.any]
    root.any = undefined
  })
  t.equal(await codeOf(() => db.undo(created)), 'UNDO_CONFLICT', 'the root has changed as well')
  const other = await commit(db, root => void root.tree.set('k', new Item('y')))
  const linked = await commit(db, root => void (root.record = { y: root.tree.get('k') }))
  const failure = await db.undo(other).then(
    () => undefined,
    error => error as Error & { code: string },
  )
  t.equal(failure?.code, 'DANGLING_REFERENCE')
  t.match(failure?.message, /Root \(object 1\) at \/ refers to Item \(object \d+\)/)
  await db.undo([other, linked])
  t.same(await read(db, root => [root.tree.has('k'), root.record]), [false, {}])
  await db.close()
})

t.test('undo leaves what came into the leaf beside one that had been emptied', async t => {
  const db = await openTestDatabase()
  const keys = Array.from({ length: 1000 }, (_, i) => i)
  await commit(db, root => keys.forEach(key => void root.tree.set(key, key)))
  const hole = keys.slice(300, 400)
  const emptied = await commit(db, root => hole.forEach(key => void root.tree.delete(key)))
  await commit(db, root => void root.tree.set(350.5, 'since'))
  const again = await db.undo(emptied)
  const all = [...keys, 350.5].sort((a, b) => a - b)
  t.same(await read(db, root => [...root.tree.keys()]), all)
  t.same(await read(db, root => [root.tree.get(350.5), root.tree.size]), ['since', 1001])
  await commit(db, root => void root.tree.set(350, 'taken'))
  await t.rejects(db.undo(again), {
    code: 'UNDO_CONFLICT',
    message: /cannot be undone: BTree \(object \d+\): its entry 350 was changed since; nothing was undone/,
  })
  t.match(await db.verify(), { ok: true })
  await db.close()
})

t.test('property: undo takes back what was done to the entries of a tree, unless they were changed since', async t => {
  type Entries = ReadonlyMap<number, number>
  const edit = fc.record({
    from: fc.nat(400),
    count: fc.constantFrom(1, 1, 2, 40, 150),
    step: fc.constantFrom(1, 0.5, 3),
    value: fc.constantFrom(undefined, 1, 2, 3),
  })
  const action = fc.oneof(
    { weight: 3, arbitrary: fc.record({ edits: fc.array(edit, { minLength: 1, maxLength: 3 }) }) },
    { weight: 2, arbitrary: fc.record({ picks: fc.array(fc.nat(30), { minLength: 1, maxLength: 2 }) }) },
  )
  const outcomes = { undone: 0, refused: 0 }
  await fc.assert(
    fc.asyncProperty(fc.nat(200), fc.array(action, { maxLength: 25, size: 'max' }), async (size, actions) => {
      const db = await openTestDatabase()
      let entries: Entries = new Map(Array.from({ length: size }, (_, i) => [i, 0]))
      await commit(db, root => entries.forEach((value, key) => void root.tree.set(key, value)))
      const done: { tid: Tid; before: Entries; after: Entries }[] = []
      for (const each of actions) {
        const { lastTid } = db.storage
        const after = new Map(entries)
        const put = (key: number, value: number | undefined) =>
          value === undefined ? after.delete(key) : after.set(key, value)
        if ('edits' in each) {
          const pairs = each.edits.flatMap(({ from, count, step, value }) =>
            Array.from({ length: count }, (_, i) => [from + i * step, value] as const),
          )
          for (const [key, value] of pairs) put(key, value)
          await db.transact(({ tree }) => {
            for (const [key, value] of pairs) value === undefined ? tree.delete(key) : tree.set(key, value)
          })
        } else {
          const chosen = new Set(each.picks.flatMap(pick => done[pick % done.length] ?? []))
          if (chosen.size === 0) continue
          let changedSince = false
          for (const change of [...chosen].sort((a, b) => b.tid - a.tid))
            for (const key of new Set([...change.before.keys(), ...change.after.keys()])) {
              if (change.before.get(key) === change.after.get(key)) continue
              if (after.get(key) !== change.after.get(key)) changedSince = true
              put(key, change.before.get(key))
            }
          const code = await codeOf(() => db.undo(Array.from(chosen, ({ tid }) => tid)))
          assert.equal(code, changedSince ? 'UNDO_CONFLICT' : undefined)
          outcomes[changedSince ? 'refused' : 'undone'] += 1
          if (changedSince) continue
        }
        const { lastTid: tid } = db.storage
        if (tid !== lastTid) done.push({ tid, before: entries, after })
        entries = after
        const sorted = [...entries].sort(([a], [b]) => a - b)
        await db.transact(({ tree }) => {
          assert.deepEqual([...tree], sorted)
          assert.deepEqual(
            [tree.size, ...sorted.map(([key]) => tree.get(key))],
            [sorted.length, ...sorted.map(([, v]) => v)],
          )
        })
      }
      assert.deepEqual((await db.verify()).problems, [])
      await db.close()
    }),
    { numRuns: 20 },
  )
  t.ok(outcomes.undone > 10 && outcomes.refused > 10, JSON.stringify(outcomes))
})

t.test('a transaction that refers to an object taken back meanwhile is refused', async t => {
  const db = await openTestDatabase()
  const created = await commit(db, root => void root.tree.set('k', new Item('x')))
  const connection = db.open()
  const item = connection.root.tree.get('k')
  await db.undo(created)
  connection.root.any = item
  await t.rejects(connection.transaction.commit(), {
    code: 'DANGLING_REFERENCE',
    message: /^Root \(object 1\) at \/ refers to Item \(object \d+\), which has been removed/,
  })
  await connection.transaction.abort()
  connection.close()
  t.equal(await read(db, root => root.any), undefined)
  await db.close()
})

t.test(
  'what a class merges of the state that both began with is refused if it refers to what was taken back',
  async t => {
    const db = await openTestDatabase()
    await commit(db, root => void (root.any = new Shelf()))
    const shelf = ({ any }: Root) => any as Shelf
    const created = await commit(db, root => void shelf(root).items.push(new Item('x')))
    const connection = db.open()
    shelf(connection.root).items = []
    await commit(db, root => void (shelf(root).items = []))
    await db.undo([created, db.storage.lastTid])
    await t.rejects(connection.transaction.commit(), {
      code: 'DANGLING_REFERENCE',
      message: /^Shelf \(object \d+\) refers to Item \(object \d+\), which has been removed/,
    })
    await connection.abandon()
    t.match(await db.verify(), { ok: true })
    await db.close()
  },
)

t.test('transact runs again where an object it found was taken back meanwhile', async t => {
  const db = await openTestDatabase()
  const created = await commit(db, root => void root.tree.set('k', new Item('x')))
  let attempts = 0
  await db.transact(async root => {
    const found = root.tree.get('k')
    if (attempts++ === 0) await db.undo(created)
    root.any = found ?? 'nothing'
  })
  t.same([attempts, await read(db, root => root.any)], [2, 'nothing'])
  await db.close()
})

t.test('undo leaves the root, whatever it is asked for', async t => {
  const db = await openTestDatabase()
  const [created] = await db.undoLog()
  t.equal(await codeOf(() => db.undo(created!.tid)), 'UNDO_CONFLICT')
  await commit(db, root => void (root.n = 1))
  t.equal(await codeOf(async () => db.undo((await db.undoLog()).map(({ tid }) => tid))), 'UNDO_CONFLICT')
  t.equal(await read(db, root => root.n), 1)
  await db.close()
})

t.test('undo tells what is wrong with its argument', async t => {
  const db = await openTestDatabase()
  t.equal(await codeOf(() => db.undo(12345)), 'NOT_FOUND')
  t.equal(await codeOf(() => db.undo(Number.NaN)), 'NOT_FOUND')
  t.equal(await codeOf(() => db.undo([])), 'INVALID_ARGUMENT')
  for (const none of [undefined, null, '12345', { tid: 1 }] as never[])
    t.equal(await codeOf(() => db.undo(none)), 'INVALID_ARGUMENT')
  for (const size of [-1, Number.NaN, '2' as never])
    t.equal(await codeOf(() => db.history('/', { size })), 'INVALID_ARGUMENT', String(size))
  for (const object of [{}, undefined, null, Number.NaN] as never[])
    await t.rejects(db.history(object), { code: 'INVALID_ARGUMENT', message: /expected a path or an oid/ })
  t.equal(await codeOf(() => db.undoLog({ first: -1 })), 'INVALID_ARGUMENT')
  await db.close()
  t.equal(await codeOf(() => db.undo(1)), 'DATABASE_CLOSED')
})

t.test('undoLog takes slices and a filter', async t => {
  const db = await openTestDatabase()
  for (let i = 0; i < 10; i++) await commit(db, root => void (root.n = i + 1), `note ${i}`)
  const notes = async (options: Parameters<typeof db.undoLog>[0]) => (await db.undoLog(options)).map(({ note }) => note)
  t.same(await notes({ last: 2 }), ['note 9', 'note 8'])
  t.same(await notes({ first: 2, last: 4 }), ['note 7', 'note 6'])
  t.same(await notes({ filter: ({ note }) => /[13]$/.test(note) }), ['note 3', 'note 1'])
  t.equal((await db.undoLog()).length, 11)
  t.same(await notes({ last: -2 }), ['note 9', 'note 8'], 'a negative last is how many')
  t.same(await notes({ first: 2, last: -2 }), ['note 7', 'note 6'])
  t.same(await notes({ first: 1, last: -1, filter: ({ note }) => /[13]$/.test(note) }), ['note 1'])
  t.equal((await notes({ last: -20 })).length, 11)
  for (const filter of [
    5 as never,
    async () => false,
    async () => {
      throw new Error('too late')
    },
  ])
    await t.rejects(db.undoLog({ filter: filter as never }), { code: 'INVALID_ARGUMENT', message: /undoLog: filter/ })
  t.equal(await codeOf(() => db.undoLog({ last: 1.5 })), 'INVALID_ARGUMENT')
  await db.close()
})

t.test('a transaction keeps its user, note and further data', async t => {
  const db = await openTestDatabase()
  await db.transact(
    (root, tx) => {
      root.n = 1
      tx.extension.request = { id: 7, path: '/order' }
    },
    { user: 'ann', note: 'why' },
  )
  t.match((await db.undoLog({ last: 1 }))[0], {
    user: 'ann',
    note: 'why',
    extension: { request: { id: 7, path: '/order' } },
    oids: [1],
    classes: ['Root'],
  })
  await db.close()
})

t.test('readCurrent makes write skew a conflict', async t => {
  const db = await openTestDatabase()
  await commit(db, root => void (root.list = [new Item('on'), new Item('on')]))
  /** Switches one item off if the other is on. */
  const switchOff = (index: number, careful: boolean) => {
    const connection = db.open()
    const items = connection.root.list as Item[]
    const other = items[1 - index]!
    if (careful) connection.readCurrent(other)
    if (other.label === 'on') items[index]!.label = 'off'
    return connection
  }
  for (const careful of [false, true]) {
    await commit(db, root => (root.list as Item[]).forEach(item => void (item.label = 'on')))
    const [a, b] = [switchOff(0, careful), switchOff(1, careful)]
    await a.transaction.commit()
    t.equal(await codeOf(() => b.transaction.commit()), careful ? 'READ_CONFLICT' : undefined)
    await b.transaction.abort()
    a.close()
    b.close()
    const labels = await read(db, root => (root.list as Item[]).map(({ label }) => label))
    t.equal(labels.filter(label => label === 'on').length, careful ? 1 : 0)
  }
  await db.close()
})

t.test(
  'property: any transactions and undos leave what a model of them leaves, now and at every past moment',
  async t => {
    const step = fc.oneof(
      fc.record({ set: fc.integer({ min: 0, max: 3 }), value: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ undo: fc.integer({ min: 0, max: 8 }) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), async steps => {
        const db = await openTestDatabase()
        await commit(db, root => void (root.list = Array.from({ length: 4 }, () => new Item('-'))))
        const log: { tid: Tid; slot: number; before: string }[] = []
        const labels = Array.from({ length: 4 }, () => '-')
        const past: [Tid, string[]][] = []
        for (const each of steps) {
          if ('set' in each) {
            const before = labels[each.set]!
            if (before === String(each.value)) continue
            const tid = await commit(db, root => void ((root.list[each.set] as Item).label = String(each.value)))
            log.push({ tid, slot: each.set, before })
            labels[each.set] = String(each.value)
          } else {
            const target = log.at(-1 - each.undo)
            if (target === undefined) continue
            const foreseen = await codeOf(() => db.assertUndoable(target.tid))
            const code = await codeOf(() => db.undo(target.tid))
            assert.equal(foreseen, code)
            const after = log.filter(({ slot, tid }) => slot === target.slot && tid > target.tid)
            if (after.length === 0) assert.equal(code, undefined)
            if (code === undefined) {
              const { tid } = (await db.undoLog({ last: 1 }))[0]!
              const before = labels[target.slot]!
              labels[target.slot] = target.before
              log.push({ tid, slot: target.slot, before })
            } else assert.equal(code, 'UNDO_CONFLICT')
          }
          past.push([log.at(-1)!.tid, [...labels]])
        }
        for (const [at, expected] of [...past, [undefined, labels] as const]) {
          const view = at === undefined ? db.open() : db.open({ at })
          assert.deepEqual(
            (view.root.list as Item[]).map(({ label }) => label),
            expected,
          )
          view.close()
        }
        await db.close()
      }),
      { numRuns: 150 },
    )
    t.pass()
  },
)
