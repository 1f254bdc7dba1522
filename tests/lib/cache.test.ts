/** The objects of a connection: how many stay loaded, and that nothing is lost by it. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { codeOf, Item, newLevel, openTestDatabase, type Root } from '../support/database.ts'
import { collectGarbage } from '../support/memory.ts'

async function filled(count: number, options: { cacheSize?: number; cacheBytes?: number } = {}) {
  const db = await openTestDatabase(undefined, options)
  await db.transact(root => {
    for (let i = 0; i < count; i++) root.tree.set(i, new Item(`${i}`.padStart(200)))
  })
  return db
}

const items = (root: Root) => root.tree.values() as Generator<Item>

t.test('one transaction may read any number of objects: only so many stay loaded', async t => {
  const db = await filled(5000, { cacheSize: 200 })
  const connection = db.open()
  let most = 0
  let count = 0
  for (const item of items(connection.root)) {
    if (item.label.trim() === `${count}`) count += 1
    most = Math.max(most, connection.cacheStats.loaded)
  }
  t.equal(count, 5000)
  t.ok(most <= 200 * 1.5 + 101, `${most} were loaded at once`)
  connection.close()
  await db.close()
})

t.test('the bound may be one of bytes', async t => {
  const db = await filled(2000, { cacheBytes: 50_000 })
  const connection = db.open()
  for (const item of items(connection.root)) item.label
  t.ok(connection.cacheStats.bytes <= 80_000, `${connection.cacheStats.bytes} bytes`)
  connection.close()
  await db.close()
})

t.test('changed objects stay, and are stored', async t => {
  const db = await filled(1000, { cacheSize: 50 })
  await db.transact(root => {
    for (const item of items(root)) item.label = item.label.trim()
  })
  await db.transact(root => {
    for (const item of items(root)) item.others.push(item)
  })
  await db.transact(root => {
    for (const [i, item] of root.tree.entries() as Generator<[number, Item]>)
      if (item.label !== `${i}` || item.others[0] !== item) t.fail(`item ${i}`)
  })
  t.pass()
  await db.close()
})

t.test('objects in use beyond the limit cost no look through the whole cache at each further load', async t => {
  const db = await filled(5000, { cacheSize: 100 })
  const connection = db.open()
  let looks = 0
  // @ts-expect-error its own affair, but the number of looks is what makes the difference between linear and quadratic
  const cache = connection.objects
  const { shrink } = cache
  cache.shrink = (...how) => {
    looks += 1
    shrink.apply(cache, how)
  }
  const inUse = Array.from(items(connection.root), item => item.others)
  t.equal(inUse.length, 5000)
  t.ok(connection.cacheStats.loaded >= 5000, 'all stay: each of these arrays may still be changed')
  t.ok(looks < 50, `looked ${looks} times`)
  await connection.transaction.commit()
  t.ok(connection.cacheStats.loaded <= 250, `${connection.cacheStats.loaded} are loaded after the transaction`)
  connection.close()
  await db.close()
})

t.test('an object in use stays the one object of its oid, as a ghost and after it', async t => {
  const db = await filled(1000, { cacheSize: 50 })
  const connection = db.open()
  const item = connection.root.tree.get(7) as Item
  for (const each of items(connection.root)) each.label
  connection.cacheMinimize()
  t.equal(item._p_changed, undefined, 'a ghost')
  t.equal(connection.root.tree.get(7), item)
  t.equal(item.label.trim(), '7')
  connection.close()
  await db.close()
})

t.test('cacheMinimize keeps unsaved changes and inner values in use', async t => {
  const db = await filled(10)
  const connection = db.open()
  const [one, two] = [connection.root.tree.get(1) as Item, connection.root.tree.get(2) as Item]
  one.label = 'changed'
  const { others } = two
  connection.cacheMinimize()
  t.equal(one.label, 'changed')
  others.push(one)
  await connection.transaction.commit()
  connection.close()
  await db.transact(root => {
    const [item] = (root.tree.get(2) as Item).others
    t.equal(item?.label, 'changed')
  })
  await db.close()
})

t.test('ghosts that nobody refers to are collected', async t => {
  const db = await filled(3000)
  const connection = db.open()
  for (const item of items(connection.root)) item.label
  t.ok(connection.cacheStats.objects > 3000)
  connection.cacheMinimize()
  for (let i = 0; i < 50 && connection.cacheStats.objects > 500; i++) {
    await nextTurn()
    collectGarbage()
  }
  t.ok(connection.cacheStats.objects < 500, `${connection.cacheStats.objects} objects are left`)
  t.equal((connection.root.tree.get(2999) as Item).label.trim(), '2999')
  connection.close()
  await db.close()
})

t.test('limits that are none are refused', async t => {
  const db = await openTestDatabase()
  for (const limit of [-1, Number.NaN, '5'] as number[]) {
    t.equal(await codeOf(() => db.open({ cacheSize: limit })), 'INVALID_ARGUMENT')
    t.equal(await codeOf(() => openTestDatabase(newLevel(), { cacheBytes: limit })), 'INVALID_ARGUMENT')
  }
  db.open({ cacheSize: 0, cacheBytes: Number.POSITIVE_INFINITY }).close()
  await db.close()
})
