/** Pack: history and unreachable objects go, nothing else does, whatever happens meanwhile. */
import assert from 'node:assert/strict'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import type { Connection, Database, Level, Tid } from '../../lib/index.ts'
import { launch } from '../support/children.ts'
import { codeOf, Item, newLevel, openTestDatabase, type Root } from '../support/database.ts'
import { watchMemory } from '../support/memory.ts'
import { directory } from '../support/program.ts'
import { fc } from '../support/properties.ts'

async function commit(db: Database<Root>, work: (root: Root) => void): Promise<Tid> {
  await db.transact(root => work(root))
  return (await db.undoLog({ last: 1 }))[0]?.tid ?? 0
}

/** How many keys of a kind there are. */
async function count(level: Level, kind: string): Promise<number> {
  const keys = await level.keys({ keyEncoding: 'buffer', gte: Buffer.from(kind) }).all()
  return keys.filter(key => (key as Buffer)[0] === kind.charCodeAt(0)).length
}

t.test('pack forgets earlier revisions and keeps the current ones', async t => {
  const level = newLevel()
  const db = await openTestDatabase(level)
  for (let i = 1; i <= 20; i++) await commit(db, root => void (root.n = i))
  const middle = (await db.history(1, { size: 50 }))[10]!.tid
  t.match(await db.pack({ before: middle }), { packed: middle, objects: 0, revisions: 10 })
  t.equal((await db.history(1, { size: 50 })).length, 11)
  const view = db.open({ at: middle })
  t.equal(view.root.n, 10)
  view.close()
  t.equal(await codeOf(() => db.open({ before: middle })), 'HISTORY_PACKED')
  t.equal(await codeOf(() => db.undo(middle)), 'HISTORY_PACKED')
  t.equal(await db.transact(root => root.n), 20)
  await db.pack()
  t.equal((await db.history(1)).length, 1)
  t.equal(await count(level, 'r'), 0)
  t.equal(await count(level, 't'), 2, 'the transactions that wrote something that is there still')
  t.equal(await db.transact(root => root.n), 20)
  await db.close()
})

t.test('empty, repeated, future and earlier packs lose nothing', async t => {
  const db = await openTestDatabase()
  await db.pack()
  const one = await commit(db, root => void (root.n = 1))
  await commit(db, root => void (root.n = 2))
  await db.pack({ before: 0 })
  db.open({ at: one }).close()
  t.equal(await db.transact(root => root.n), 2)
  const last = await commit(db, root => void (root.n = 3))
  t.match(await db.pack({ before: new Date(Date.now() + 1e9) }), { packed: last })
  t.match(await db.pack({ before: new Date(0) }), { packed: last })
  t.equal(await db.transact(root => root.n), 3)
  t.equal(await codeOf(() => db.pack({ before: Number.NaN })), 'INVALID_ARGUMENT')
  const [running, second] = [db.pack(), codeOf(() => db.pack())]
  t.equal(await second, 'PACK_RUNNING')
  await running
  await db.close()
})

t.test('what nothing refers to goes, cycles too; gc: false keeps it', async t => {
  const level = newLevel()
  const db = await openTestDatabase(level)
  await commit(db, root => {
    const [a, b, c] = [new Item('a'), new Item('b'), new Item('c')]
    a.others = [b]
    b.others = [a, c]
    root.any = a
  })
  const before = await count(level, 'o')
  await commit(db, root => void (root.any = undefined))
  t.match(await db.pack({ gc: false }), { objects: 0 })
  t.equal(await count(level, 'o'), before)
  t.match(await db.pack(), { objects: 3 })
  t.equal(await count(level, 'o'), before - 3)
  await db.close()
})

t.test('pack needs no more memory for a database four times as large', async t => {
  const growth: number[] = []
  for (const count of [1500, 6000]) {
    const db = await openTestDatabase(await directory(t))
    for (let first = 0; first < count; first += 500)
      await commit(db, root => {
        for (let i = first; i < first + 500; i++) root.tree.set(i, new Item(`${i}`.padStart(2000)))
      })
    // half of them get a second revision, a quarter becomes garbage
    for (let first = 0; first < count / 2; first += 500)
      await commit(db, root => {
        for (let i = first; i < first + 500; i++) (root.tree.get(i) as Item).label += '!'
      })
    await commit(db, root => {
      for (let i = 0; i < count / 4; i++) root.tree.delete(i)
    })
    const memory = watchMemory()
    let steps = 0
    const { objects, revisions } = await db.pack({
      progress() {
        if (steps++ % 1000 === 0) memory.look()
      },
    })
    t.ok(objects >= count / 4 && revisions >= count / 4)
    growth.push(memory.growth)
    await db.close()
  }
  const [small, large] = growth as [number, number]
  t.ok(large - small < 4_000_000, `${small} bytes, then ${large}, where 9 million more were gone through`)
})

t.test(
  'a pack tells how far it is, within what there is; one that is ended there leaves the rest to the next',
  async t => {
    const db = await openTestDatabase()
    for (let i = 1; i <= 20; i++) await commit(db, root => void (root.any = new Item(String(i))))
    const counts = await db.countRecords()
    t.match(counts, { objects: 24, revisions: 20, transactions: 21 })
    for (const phase of ['mark', 'sweep'] as const) {
      const stop = ({ phase: at }: { phase: string }) => {
        if (at === phase) throw new Error(`enough of ${phase}`)
      }
      await t.rejects(db.pack({ progress: stop }), { message: `enough of ${phase}` })
    }
    const last: Record<string, number> = {}
    await db.pack({ progress: ({ phase, done }) => void (last[phase] = done) })
    t.same(last, { mark: 5, sweep: counts.objects + counts.revisions, forget: counts.transactions - 1 })
    t.match(await db.verify(), { ok: true, objects: 5, revisions: 0 })
    await db.close()
  },
)

t.test('an object unlinked after the pack time can be brought back by undo', async t => {
  const db = await openTestDatabase()
  const linked = await commit(db, root => void (root.any = new Item('kept')))
  const unlinked = await commit(db, root => void (root.any = undefined))
  t.match(await db.pack({ before: linked }), { objects: 0 })
  await db.undo(unlinked)
  t.equal(await db.transact(root => (root.any as Item).label), 'kept')
  await db.close()
})

t.test('a reader sees its snapshot, and a historical one its past, whatever is packed', async t => {
  const db = await openTestDatabase()
  const first = await commit(db, root => void (root.any = new Item('old')))
  const views = [db.open(), db.open({ at: first })]
  await commit(db, root => void (root.any = new Item('new')))
  await db.pack()
  for (const view of views) {
    t.equal((view.root.any as Item).label, 'old')
    view.close()
  }
  await db.close()
})

t.test('an object that was unlinked can be linked again, or that is refused; never does it dangle', async t => {
  const level = newLevel()
  const db = await openTestDatabase(level)
  await commit(db, root => void (root.list = Array.from({ length: 3000 }, (_, i) => new Item(`${i}`))))
  // what the later ones refer to is looked at long before them
  await commit(db, root => {
    const items = root.list as Item[]
    for (const [i, item] of items.entries()) if (i >= 1500) item.others.push(items[i - 1500]!)
  })
  const holder = db.open()
  const items = [...(holder.root.list as Item[])]
  for (const item of items) item.label
  await commit(db, root => void (root.list = []))
  holder.sync()
  const packing = db.pack()
  let over = false
  void packing.then(() => (over = true))
  const outcomes = new Set<string | undefined>()
  const linked: string[] = []
  const labels = () =>
    db.transact(root =>
      (root.list as Item[]).map(({ label, others }) => [label, ...others.map(other => other.label)].join(' ')),
    )
  for (let i = 0; !over; i += 7) {
    const item = items[(i * 13) % items.length]!
    holder.root.list = [...holder.root.list, item]
    const code = await codeOf(() => holder.transaction.commit())
    if (code === undefined)
      linked.push([item.label, ...(Number(item.label) < 1500 ? [] : [Number(item.label) - 1500])].join(' '))
    else await holder.transaction.abort()
    outcomes.add(code)
    await nextTurn()
  }
  await packing
  t.ok(outcomes.size > 0)
  for (const code of outcomes) t.ok([undefined, 'DANGLING_REFERENCE'].includes(code), String(code))
  t.same(await labels(), linked)
  t.same((await db.verify()).problems, [])
  holder.close()
  await db.pack()
  t.same(await labels(), linked)
  await db.close()
})

/** The labels of all that can be reached from the root, by path. */
function shape(connection: Connection<Root>): string {
  const numbers = new Map<Item, number>()
  const walk = (item: Item): unknown => {
    const known = numbers.get(item)
    if (known !== undefined) return known
    numbers.set(item, numbers.size)
    return [item.label, item.others.map(walk)]
  }
  return JSON.stringify((connection.root.list as Item[]).map(walk))
}

t.test(
  'property: after any pack, every moment from then on looks as it did, and only what was reachable is left',
  async t => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ from: fc.nat(9), to: fc.nat(9), link: fc.boolean() }) },
      { weight: 3, arbitrary: fc.record({ add: fc.nat(9) }) },
      { weight: 1, arbitrary: fc.record({ undo: fc.nat(3) }) },
      { weight: 1, arbitrary: fc.record({ packAt: fc.nat(5), gc: fc.boolean() }) },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 30 }), async steps => {
        const level = newLevel()
        const db = await openTestDatabase(level)
        const empty = await count(level, 'o')
        const moments: [Tid, string][] = []
        const note = async () => {
          const view = db.open()
          const tid = (await db.undoLog({ last: 1 }))[0]?.tid ?? 0
          if (tid > (moments.at(-1)?.[0] ?? 0)) moments.push([tid, shape(view)])
          view.close()
        }
        const reachable = (root: Root): Item[] => {
          const found = new Set<Item>(root.list as Item[])
          for (const item of found) for (const other of item.others) found.add(other)
          return [...found]
        }
        let packed = 0
        for (const each of steps) {
          if ('add' in each)
            await db.transact(root => {
              const items = reachable(root)
              const target = items[each.add]
              if (target !== undefined) target.others.push(new Item(`n${items.length}`))
              else root.list.push(new Item('top'))
            })
          else if ('from' in each)
            await db.transact(root => {
              const items = reachable(root)
              const [from, to] = [items[each.from], items[each.to]]
              if (from === undefined || to === undefined) return
              if (each.link) from.others.push(to)
              else if (from.others.length > 0) from.others.pop()
              else root.list.splice(each.to, 1)
            })
          else if ('undo' in each) {
            const target = (await db.undoLog()).filter(({ note }) => note !== 'created')[each.undo]
            if (target !== undefined) {
              const code = await codeOf(() => db.undo(target.tid))
              assert.ok([undefined, 'UNDO_CONFLICT', 'DANGLING_REFERENCE'].includes(code), code)
            }
          } else {
            const at = moments.at(-1 - each.packAt)?.[0] ?? 0
            packed = (await db.pack({ before: at, gc: each.gc })).packed
          }
          await note()
        }
        for (const [at, expected] of moments) {
          if (at < packed) continue
          const view = db.open({ at })
          assert.equal(shape(view), expected)
          view.close()
        }
        await db.pack()
        const left = await db.transact(root => reachable(root).length)
        assert.equal(await count(level, 'o'), left + empty)
        assert.equal(await count(level, 'r'), 0)
        await db.close()
      }),
      { numRuns: 300 },
    )
    t.pass()
  },
)

t.test('a pack that is killed at any point loses nothing, and the next one does the rest', async t => {
  const home = await directory(t)
  let db = await openTestDatabase(home)
  await commit(db, root => void (root.list = Array.from({ length: 4000 }, (_, i) => new Item(`${i}`))))
  for (let i = 0; i < 5; i++)
    await commit(db, root => {
      for (const item of root.list as Item[]) item.label += 'x'
    })
  const expected = await db.transact(root => {
    root.list = (root.list as Item[]).filter((_, i) => i % 2 === 0)
    return (root.list as Item[]).map(({ label }) => label)
  })
  await db.close()
  const size = () => readdirSync(home).reduce((sum, name) => sum + statSync(join(home, name)).size, 0)
  const before = size()
  for (let i = 0; i < 8; i++) {
    const packer = launch(t, 'tests/support/packer.ts', [home])
    while (!packer.output().includes('packing')) await nextTurn()
    setTimeout(() => packer.process.kill('SIGKILL'), i * 12)
    await packer.ended
    db = await openTestDatabase(home)
    t.same(await db.transact(root => (root.list as Item[]).map(({ label }) => label)), expected)
    await db.close()
  }
  db = await openTestDatabase(home)
  await db.pack()
  t.equal((await db.history(1)).length, 1)
  t.same(await db.transact(root => (root.list as Item[]).map(({ label }) => label)), expected)
  await db.close()
  t.comment(`the directory had ${before} bytes, now ${size()}`)
  t.ok(size() < before)
})

t.test(
  'a pack that the closing of the database interrupts fails alone, at whatever point, and the next one does the rest',
  async t => {
    const home = await directory(t)
    let db = await openTestDatabase(home)
    await db.transact(root => {
      for (let i = 0; i < 2000; i++) root.tree.set(i, new Item(`${i}`))
    })
    for (let round = 0; round < 12; round++) {
      await db.transact(root => {
        for (let i = round; i < 2000; i += 12) (root.tree.get(i) as Item).label = `${round}`
        root.list = [new Item(`${round}`)]
      })
      const packed = codeOf(() => db.pack())
      for (let turn = 0; turn < round * 3; turn++) await nextTurn()
      await db.close()
      t.match(String(await packed), /^(undefined|DATABASE_(CLOSED|FAILED))$/)
      db = await openTestDatabase(home)
      t.match(await db.verify(), { ok: true })
    }
    await db.pack()
    t.equal(await db.transact(root => root.tree.size), 2000)
    t.match(await db.verify(), { ok: true })
    await db.close()
  },
)
