/** Everything at once: writers, readers of the present and of the past, undos, packs, verifications and backups. Nobody waits for ever, nothing is wrong. */
import { join } from 'node:path'
import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { directory } from '../support/program.ts'

const ACCOUNTS = 100
const TOTAL = ACCOUNTS * 100
const SECONDS = 6
const EVERYTHING = ['commits', 'reads', 'undos', 'packs', 'backups']

/** What all accounts hold together: the same at every moment. */
function total(root: Root): number {
  let sum = 0
  for (const account of root.tree.values() as Generator<Item>) sum += Number(account.label)
  return sum
}

t.test('every view of every moment adds up, whatever goes on', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(join(home, 'live'), { cacheSize: 50 })
  await db.transact(root => {
    for (let i = 0; i < ACCOUNTS; i++) root.tree.set(i, new Item('100'))
  })
  await db.pack()
  const start = performance.now()
  const counts: Record<string, number> = {}
  /** A slow machine gets more time to have done everything once. */
  const isOver = () => {
    const seconds = (performance.now() - start) / 1000
    return seconds > 20 * SECONDS || (seconds > SECONDS && EVERYTHING.every(what => (counts[what] ?? 0) > 0))
  }
  const count = (what: string) => {
    counts[what] = (counts[what] ?? 0) + 1
  }

  const write = async (seed: number) => {
    for (let n = seed; !isOver(); n += 7) {
      const code = await codeOf(() =>
        db.transact(root => {
          const [from, to] = [root.tree.get(n % ACCOUNTS), root.tree.get((n * 31 + 5) % ACCOUNTS)] as [Item, Item]
          from.label = `${Number(from.label) - 1}`
          to.label = `${Number(to.label) + 1}`
          if (n % 5 === 0) root.list = [new Item('garbage soon')]
        }),
      )
      if (code !== undefined && code !== 'CONFLICT') t.fail(`a writer got ${code}`)
      count('commits')
      await nextTurn()
    }
  }
  const read = async () => {
    while (!isOver()) {
      if ((await db.transact(total)) !== TOTAL) t.fail('the present does not add up')
      const log = await db.undoLog({ last: 30 })
      const moment = log[Math.floor(Math.random() * log.length)]
      if (moment !== undefined) {
        const code = await codeOf(() => {
          const view = db.open({ at: moment.tid })
          if (total(view.root) !== TOTAL) t.fail('the past does not add up')
          view.close()
        })
        if (code !== undefined && code !== 'HISTORY_PACKED') t.fail(`a view of the past got ${code}`)
      }
      count('reads')
      await delay(2)
    }
  }
  const undo = async () => {
    while (!isOver()) {
      const [, entry] = await db.undoLog({ last: 2 })
      const code = entry && (await codeOf(() => db.undo(entry.tid)))
      if (entry !== undefined && code === undefined) count('undos')
      else if (code !== undefined && !['UNDO_CONFLICT', 'HISTORY_PACKED', 'CONFLICT'].includes(code)) t.fail(code)
      await delay(10)
    }
  }
  const maintain = async () => {
    for (let n = 0; !isOver(); n++) {
      await delay(200)
      const log = await db.undoLog({ last: 1000 })
      await db.pack({ before: log[log.length >>> 1]?.tid ?? 0 })
      count('packs')
      const { problems } = await db.verify()
      t.same(problems, [])
      if (n % 4 !== 0) continue
      await db.backup(join(home, `backup-${n}`))
      const copy = await openTestDatabase(join(home, `backup-${n}`))
      t.equal(await copy.transact(total), TOTAL)
      await copy.close()
      count('backups')
    }
  }
  await Promise.all([write(1), write(2), write(3), read(), undo(), maintain()])
  t.comment(JSON.stringify(counts))
  for (const what of EVERYTHING) t.ok((counts[what] ?? 0) > 0, what)
  t.match(await db.verify(), { ok: true })
  await db.close()
})
