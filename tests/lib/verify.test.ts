/** verify: finds what is wrong, and nothing where nothing is. */
import { readdirSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { Blob, type Connection, type Level, type Tid } from '../../lib/index.ts'
import { objectKey, outboxKey, revisionKey, transactionKey } from '../../lib/storage/keys.ts'
import { Folder, openDatabase } from '../../objects/index.ts'
import { Item, newLevel, openTestDatabase } from '../support/database.ts'
import { directory } from '../support/program.ts'

const BINARY = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const

/** A database with some history, with two of its transactions. */
async function sample(): Promise<{ level: Level; tids: Tid[]; oid: number }> {
  const level = newLevel()
  const db = await openTestDatabase(level)
  await db.transact(root => void (root.any = new Item('a')))
  for (const label of ['b', 'c', 'd']) await db.transact(root => void ((root.any as Item).label = label))
  const tids = (await db.undoLog()).map(({ tid }) => tid)
  const oid = await db.transact(root => (root.any as Item)._p_oid as number)
  await db.close()
  await level.open()
  return { level, tids, oid }
}

async function problemsOf(level: Level): Promise<{ kind: string; message: string }[]> {
  const db = await openTestDatabase(level)
  const { ok, problems } = await db.verify()
  await db.close()
  t.equal(ok, problems.length === 0)
  return [...problems]
}

t.test('nothing is found where nothing is, while others commit, and after packs and undos', async t => {
  const db = await openTestDatabase()
  let over = false
  t.teardown(() => {
    over = true
  })
  const writer = (async () => {
    for (let i = 0; !over; i++) {
      await db.transact(root => void root.tree.set(i % 200, new Item(`${i}`)))
      await nextTurn()
    }
  })()
  for (let i = 0; i < 10; i++) {
    const { ok, problems } = await db.verify()
    t.ok(ok, JSON.stringify(problems))
    if (i % 4 === 1) await db.pack()
    const [newest] = await db.undoLog({ last: 1 })
    if (i % 4 === 3 && newest !== undefined) await db.undo(newest.tid).catch(() => undefined)
  }
  over = true
  await writer
  for (let i = 0; i < 20; i++) await db.transact(root => void root.tree.set(i, new Item('last')))
  const seen: number[] = []
  const { objects, transactions } = await db.verify({ progress: done => seen.push(done) })
  t.ok(objects > 20 && transactions >= 20 && seen.at(-1)! >= objects)
  await db.close()
})

t.test('a tree whose keys are not where they are looked for, or that does not count them, is told', async t => {
  const db = await openTestDatabase()
  await db.transact(root => {
    for (let i = 0; i < 1000; i++) root.tree.set(i, i)
  })
  type Nodes = { top: { keys: number[]; children: { keys: number[]; values: number[]; _p_changed: boolean }[] } }
  const spoils: [RegExp, (tree: Nodes) => void][] = [
    [
      /node \d+: it has keys that are not looked for in it/,
      ({ top }) => spoil(top.children[3]!, leaf => leaf.keys.splice(0, 1, -5)),
    ],
    [/node \d+: its keys are in disorder/, ({ top }) => spoil(top.children[3]!, leaf => leaf.keys.reverse())],
    [
      /it has 999 entries and counts 1000/,
      ({ top }) => spoil(top.children[3]!, leaf => [leaf.keys.pop(), leaf.values.pop()]),
    ],
    [
      /node \d+: it has more or fewer keys than places/,
      ({ top }) => spoil(top.children[3]!, leaf => leaf.values.pop()),
    ],
  ]
  for (const [message, damage] of spoils) {
    await db.transact(root => damage(root.tree as unknown as Nodes))
    const { ok, problems } = await db.verify()
    t.notOk(ok)
    t.match(problems, [{ kind: 'record', message }])
    t.equal(problems.length, 1)
    await db.undo(db.storage.lastTid)
    t.match(await db.verify(), { ok: true })
  }
  await db.close()
})

function spoil<T extends { _p_changed: boolean }>(node: T, how: (node: T) => unknown): void {
  node._p_changed = true
  how(node)
}

for (const [what, damage, expected] of [
  [
    'an object is missing',
    ({ level, oid }) => level.del(objectKey(oid), BINARY),
    { kind: 'reference', message: /refers to object \d+, which is not there/ },
  ],
  [
    'a record is damaged',
    async ({ level, oid }) => {
      const bytes = Buffer.from((await level.get(objectKey(oid), BINARY)) as Buffer)
      bytes[bytes.length - 1]! ^= 1
      await level.put(objectKey(oid), bytes, BINARY)
    },
    { kind: 'record', message: /checksum/ },
  ],
  [
    'an earlier revision is missing',
    ({ level, oid, tids }) => level.del(revisionKey(oid, tids[1]!), BINARY),
    { kind: 'transaction', message: /wrote to object \d+ is not there/ },
  ],
  [
    'an older revision stands in the place of the newest',
    async ({ level, oid, tids }) => {
      const older = (await level.get(revisionKey(oid, tids[1]!), BINARY)) as Buffer
      await level.put(objectKey(oid), older, BINARY)
    },
    { kind: 'transaction', message: /wrote to object \d+ is not there/ },
  ],
  [
    'a transaction is missing',
    ({ level, tids }) => level.del(transactionKey(tids[1]!), BINARY),
    { kind: 'transaction', message: /transaction \d+ is missing/ },
  ],
] as [string, (found: Awaited<ReturnType<typeof sample>>) => Promise<void>, object][])
  t.test(`found: ${what}`, async t => {
    const found = await sample()
    t.same(await problemsOf(found.level), [])
    await found.level.open()
    await damage(found)
    const problems = await problemsOf(found.level)
    t.ok(problems.length > 0)
    t.match(problems[0], expected)
  })

t.test('found: an outbox row that is damaged or stands under another key, and a blob without its row', async t => {
  const level = newLevel()
  const db = await openTestDatabase(level)
  const oid = await db.transact(async (root, tx) => {
    tx.outbox.set('ours/1', Buffer.from('do this'))
    tx.outbox.set('ours/2', Buffer.from('do that'))
    const blob = new Blob()
    root.any = blob
    ;(root._p_jar as Connection).add(blob)
    await blob.write('content')
    return blob._p_oid
  })
  t.match(await db.verify(), { ok: true })
  const row = Buffer.from((await level.get(outboxKey('ours/1'), BINARY)) as Buffer)
  await level.put(outboxKey('ours/3'), row, BINARY)
  row[row.length - 1]! ^= 1
  await level.put(outboxKey('ours/1'), row, BINARY)
  await level.clear({ gte: 'xblob/', lt: 'xblob0' })
  const { problems } = await db.verify()
  t.match(problems, [
    { kind: 'blob', oid, message: /row .* is missing/ },
    { kind: 'outbox', message: /ours\/1 is damaged/ },
    { kind: 'outbox', message: /ours\/3 is damaged/ },
  ])
  t.equal(problems.length, 3)
  const values = new Map<string, string | undefined>()
  for await (const [key, value] of db.outbox.outboxRows('')) values.set(key, value && Buffer.from(value).toString())
  t.same(
    [...values],
    [
      ['ours/1', undefined],
      ['ours/2', 'do that'],
      ['ours/3', undefined],
    ],
  )
  await db.close()
})

t.test('found: a damaged blob in the tree, with its path', async t => {
  const home = await directory(t)
  const db = await openDatabase(home)
  await db.transact(async app => {
    const blob = app.create('/docs/manual', new Blob(), { parents: true })
    await blob.write('content')
  })
  const [file] = readdirSync(join(home, 'blobs'), { recursive: true, withFileTypes: true }).filter(each =>
    each.isFile(),
  )
  truncateSync(join(file!.parentPath, file!.name), 3)
  t.match((await db.verify()).problems, [{ kind: 'blob', path: '/docs/manual', message: /3 bytes instead of 7/ }])
  await db.close()
})

t.test('a pack while it goes on is no damage', async t => {
  const db = await openTestDatabase()
  await db.transact(root => void (root.any = new Item('a')))
  for (const label of ['b', 'c', 'd']) await db.transact(root => void ((root.any as Item).label = label))
  let packing: Promise<unknown> | undefined
  const verified = await db.verify({
    progress: () => {
      packing ??= db.pack()
    },
  })
  await packing
  t.match(verified, { ok: true, problems: [] })
  t.match(await db.verify(), { ok: true })
  await db.close()
})

t.test('found: an object that is not where it says it is', async t => {
  const db = await openDatabase(newLevel())
  await db.transact(app => app.create('/a/b', new Folder(), { parents: true }))
  t.match(await db.verify(), { ok: true })
  await db.transact(app => {
    const folder = app.traverse('/a/b', Folder)
    folder.__name__ = 'c'
  })
  const { ok, problems } = await db.verify()
  t.notOk(ok)
  t.match(problems, [{ kind: 'parent', message: /says it is 'c'/ }])
  await db.close()
})
