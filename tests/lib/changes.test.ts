/** The change feed. */
import { once } from 'node:events'
import { Readable } from 'node:stream'
import t from 'tap'
import type { LogEntry } from '../../lib/index.ts'
import { codeOf, Item, newLevel, openTestDatabase } from '../support/database.ts'
import { directory } from '../support/program.ts'

t.test('the feed gives what was committed since, then what is being committed, in order', async t => {
  const db = await openTestDatabase()
  const start = (await db.undoLog({ last: 1 }))[0]!.tid
  await db.transact(root => void (root.n = 1), { user: 'ann', note: 'one' })
  const stop = new AbortController()
  const seen: LogEntry[] = []
  const feed = (async () => {
    for await (const entry of db.changes({ since: start, signal: stop.signal })) seen.push(entry)
  })()
  for (let i = 2; i <= 50; i++)
    await db.transact(root => void (i % 2 ? (root.n = i) : root.tree.set(i, new Item('x'))), { note: `${i}` })
  while (seen.length < 50) await new Promise(resolve => setTimeout(resolve, 1))
  stop.abort()
  await feed
  t.same(
    seen.map(({ note }) => note),
    ['one', ...Array.from({ length: 49 }, (_, i) => `${i + 2}`)],
  )
  t.match(seen[0], { user: 'ann', oids: [1], classes: ['Root'] })
  t.ok(seen[1]!.classes.includes('Item'))
  await db.close()
})

t.test('without since only new transactions come; closing the database ends the feed', async t => {
  const db = await openTestDatabase()
  await db.transact(root => void (root.n = 1))
  const feed = db.changes()
  const first = feed.next()
  await db.transact(root => void (root.n = 2), { note: 'two' })
  t.match(await first, { value: { note: 'two' } })
  const next = feed.next()
  await db.close()
  t.same(await next, { value: undefined, done: true })
})

t.test('a feed that is returned while it waits ends, and so does a stream of it that is destroyed', async t => {
  const db = await openTestDatabase()
  const feed = db.changes()
  const next = feed.next()
  t.same(await feed.return?.(), { value: undefined, done: true })
  t.same(await next, { value: undefined, done: true })
  t.same(await feed.next(), { value: undefined, done: true })
  const stream = Readable.from(db.changes())
  const first = once(stream, 'data')
  await db.transact(root => void (root.n = 1), { note: 'seen' })
  t.match(await first, [{ note: 'seen' }])
  const closed = once(stream, 'close')
  stream.destroy()
  await closed
  await db.close()
})

t.test('the feed goes on after a restart from the last transaction that was dealt with', async t => {
  const home = await directory(t)
  let db = await openTestDatabase(home)
  await db.transact(root => void (root.n = 1), { note: 'one' })
  const since = (await db.undoLog({ last: 1 }))[0]!.tid
  await db.transact(root => void (root.n = 2), { note: 'two' })
  await db.close()
  db = await openTestDatabase(home)
  t.match(await db.changes({ since }).next(), { value: { note: 'two' } })
  await db.close()
})

t.test('a feed from before the last pack says that it would have holes', async t => {
  const db = await openTestDatabase(newLevel())
  const since = (await db.undoLog({ last: 1 }))[0]!.tid
  await db.transact(root => void (root.n = 1))
  await db.pack()
  t.equal(await codeOf(() => db.changes({ since }).next()), 'HISTORY_PACKED')
  await db.close()
})

t.test('a since that the database does not know is refused, and keeps nobody busy', async t => {
  const db = await openTestDatabase()
  const last = (await db.undoLog({ last: 1 }))[0]!.tid
  for (const since of [last + 1, Date.now() * 2000, -1, 1.5, Number.NaN])
    t.equal(await codeOf(() => db.changes({ since }).next()), 'INVALID_ARGUMENT', `${since}`)
  const next = db.changes({ since: last }).next()
  await db.transact(root => void (root.n = 1), { note: 'one' })
  t.match(await next, { value: { note: 'one' } })
  await db.close()
})

t.test('a feed under way goes on while the database is packed, unless what it has not seen is', async t => {
  const db = await openTestDatabase()
  const feed = db.changes()
  const first = feed.next()
  await db.transact(root => void (root.n = 1), { note: 'one' })
  t.match(await first, { value: { note: 'one' } })
  await db.pack()
  const second = feed.next()
  await db.transact(root => void (root.n = 2), { note: 'two' })
  t.match(await second, { value: { note: 'two' } })
  for (let n = 3; n < 6; n++) await db.transact(root => void (root.n = n))
  await db.pack()
  t.equal(await codeOf(() => feed.next()), 'HISTORY_PACKED')
  await db.close()
})
