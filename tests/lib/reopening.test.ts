/** A database that goes on by itself after a write that failed. */
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Blob, type Transaction } from '../../lib/index.ts'
import { type Child, LOADER, launchProgram, PROJECT } from '../support/children.ts'
import { codeOf, Item, openTestDatabase } from '../support/database.ts'
import { diskProblem, mountSmallDisk } from '../support/disk.ts'
import { failNextWrite, levelOf } from '../support/failing-writes.ts'
import { needs } from '../support/peers.ts'
import { directory } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

process.removeAllListeners('warning')
// nothing else keeps the process alive until the database goes on
const alive = setInterval(() => undefined, 1000)
t.teardown(() => clearInterval(alive))

type TestDatabase = Awaited<ReturnType<typeof openTestDatabase>>

/** Commits as soon as that is possible again. */
const goesOn = (db: TestDatabase) =>
  waitFor('the database to go on', async () => {
    const code = await codeOf(() => db.transact(root => void (root.list = [...root.list, 'on'])))
    if (code !== undefined && code !== 'DATABASE_FAILED') throw new Error(code)
    return code === undefined
  })

t.test(
  'a full disk: reads go on, commits fail, and succeed when there is room again',
  needs(diskProblem()),
  async t => {
    const place = await directory(t)
    const disk = mountSmallDisk(t, place, 4096)
    const location = join(place, 'objects')
    const db = await openTestDatabase(location)
    await db.transact(root => {
      root.n = 1
      root.tree.set('item', new Item('before'))
    })
    const early = db.open()
    const heard: number[] = []
    const feed = (async () => {
      for await (const { tid } of db.changes()) heard.push(tid)
    })()
    for (const text of ['a', 'b', 'c']) await db.transact(root => void (root.text = text))
    const large = () => db.transact(root => void (root.text = 'x'.repeat(20_000)))
    const row = [['a row', Buffer.from('of an outbox')]] as const
    for (let round = 0; round < 2; round++) {
      disk.fill()
      t.equal(await codeOf(large), 'DATABASE_FAILED')
      t.equal(await codeOf(large), 'DATABASE_FAILED')
      t.equal(await codeOf(() => db.outbox.writeOutbox(row, { sync: true })), 'DATABASE_FAILED')
      t.equal(await codeOf(() => db.pack()), 'DATABASE_FAILED')
      t.equal(await codeOf(() => db.undo(db.storage.lastTid)), 'DATABASE_FAILED')
      t.equal(await db.transact(root => root.n), 1, 'reading goes on')
      disk.free()
      await goesOn(db)
    }
    t.equal((early.root.tree.get('item') as Item).label, 'before', 'a view of before goes on')
    t.equal(early.root.text, '')
    early.close()
    t.equal(await db.transact(root => root.text), 'c')
    t.equal((await db.transact(root => root.list)).length, 2)
    await large()
    await db.outbox.writeOutbox(row, { sync: true })
    t.ok((await db.verify()).ok)
    await waitFor('the feed', () => heard.at(-1) === db.storage.lastTid)
    t.equal(heard.length, 6)
    await db.pack()
    await db.close()
    await feed
    const again = await openTestDatabase(location)
    t.equal((await again.transact(root => root.text)).length, 20_000)
    t.ok((await again.verify()).ok)
    await again.close()
  },
)

for (const room of [2000, 5500])
  t.test(`a disk that commits fill, ${room} KiB: nothing acknowledged is lost`, needs(diskProblem()), async t => {
    const place = await directory(t)
    mountSmallDisk(t, place, 24_576)
    const db = await openTestDatabase(join(place, 'objects'))
    const filler = join(place, 'filler')
    writeFileSync(filler, Buffer.alloc((24_576 - room) * 1024 - 200_000))
    const acknowledged: number[] = []
    let n = 0
    const commit = async () => {
      const i = ++n
      await db.transact(root => void root.tree.set(i, new Item(randomBytes(50_000).toString('base64'))))
      acknowledged.push(i)
    }
    t.equal(
      await codeOf(async () => {
        for (;;) await commit()
      }),
      'DATABASE_FAILED',
    )
    rmSync(filler)
    await goesOn(db)
    for (let i = 0; i < 10; i++) await commit()
    const lost = (from: TestDatabase) =>
      from.transact(root => acknowledged.filter(i => (root.tree.get(i) as Item).label === ''))
    t.same(await lost(db), [])
    t.ok((await db.verify()).ok)
    await db.close()
    const again = await openTestDatabase(join(place, 'objects'))
    t.same(await lost(again), [])
    await again.close()
  })

for (const written of [false, true])
  t.test(`a commit in doubt that was ${written ? '' : 'not '}written: its outcome is told, and acted on`, async t => {
    const location = await directory(t)
    const db = await openTestDatabase(location)
    await db.transact(root => void (root.any = new Blob()))
    const reader = db.open()
    t.equal(reader.root.n, 0)
    const decided: unknown[] = []
    let tx: Transaction | undefined
    failNextWrite(db, { written })
    const work = db.transact(async (root, its) => {
      tx = its
      root.n = 7
      await (root.any as Blob).write('a content')
      its.join({ sortKey: 'z', decided: (_, happened) => void decided.push(happened), finish: () => decided.push('?') })
    })
    await t.rejects(work, { code: 'DATABASE_FAILED', inDoubt: true })
    t.equal((await db.storage.blobs.staged()).length, 1, 'what it would need is kept')
    t.equal(await tx?.outcome, written)
    t.equal(reader.root.n, 0)
    reader.sync()
    t.equal(reader.root.n, written ? 7 : 0, 'a connection of before sees it in its next view')
    reader.close()
    await waitFor('the content to move or go', async () => (await db.storage.blobs.staged()).length === 0)
    await waitFor('the data manager to be told', () => decided.length > 0)
    t.same(decided, [written])
    await goesOn(db)
    const seen = await db.transact(async root => [root.n, String(await (root.any as Blob).bytes())])
    t.same(seen, written ? [7, 'a content'] : [0, ''])
    t.ok((await db.verify()).ok)
    await db.close()
    const again = await openTestDatabase(location)
    t.equal(await again.transact(root => root.n), written ? 7 : 0)
    await again.close()
  })

t.test('what was not written after all leaves no trace in what may be referred to', async t => {
  const db = await openTestDatabase(await directory(t))
  await db.transact(root => void (root.any = new Item('kept')))
  const made = db.storage.lastTid
  failNextWrite(db)
  t.equal(await codeOf(() => db.undo(made)), 'DATABASE_FAILED')
  await goesOn(db)
  await db.transact(root => void (root.list = [root.any]))
  t.equal(await db.transact(root => (root.list[0] as Item).label), 'kept')
  t.ok((await db.verify()).ok)
  await db.close()
})

t.test(
  'what is read while it is opened again is run again, and what was iterated over ends with READ_CONFLICT',
  async t => {
    const db = await openTestDatabase(await directory(t))
    await db.transact(root => {
      for (let i = 0; i < 1000; i++) root.tree.set(i, new Item(`${i}`))
    })
    const records = db.storage.records()[Symbol.asyncIterator]()
    await records.next()
    const connection = db.open()
    const { root } = connection
    let runs = 0
    let closed = () => {}
    const whenClosed = new Promise<void>(resolve => {
      closed = resolve
    })
    const begun = db.transact(async root => {
      runs += 1
      await whenClosed
      return (root.tree.get(999) as Item).label
    })
    const meanwhile = whenClosed.then(() =>
      Promise.all([
        codeOf(() => root.tree.get(17)),
        codeOf(async () => {
          for await (const _ of db.storage.records()) return
        }),
        db.transact(root => (root.tree.get(2) as Item).label, { attempts: 1 }),
        codeOf(() => db.outbox.writeOutbox([['row', new Uint8Array()]], { sync: true })),
      ]),
    )
    levelOf(db).once('closed', closed)
    failNextWrite(db)
    t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_FAILED')
    t.same(await meanwhile, ['READ_CONFLICT', 'READ_CONFLICT', '2', undefined])
    t.equal(await begun, '999')
    t.equal(runs, 2)
    t.equal(
      await codeOf(async () => {
        for (;;) if ((await records.next()).done) return
      }),
      'READ_CONFLICT',
    )
    t.equal((root.tree.get(17) as Item).label, '17', 'the view goes on')
    connection.close()
    await db.backup(join(await directory(t), 'backup'))
    await db.close()
  },
)

t.test(
  'a pack that a failed write has ended: views of a time before it end, and the next one does the rest',
  async t => {
    const db = await openTestDatabase(await directory(t))
    for (let i = 0; i < 250; i++)
      await db.transact(root => void (root.tree.get('x') ?? root.tree.set(`${i}`, new Item())))
    await db.transact(root => root.tree.clear())
    const early = db.open()
    for (let n = 1; n < 4; n++) await db.transact(root => void (root.n = n))
    let failing = false
    const pack = codeOf(() =>
      db.pack({
        progress({ phase }) {
          if (failing || phase !== 'forget') return
          failing = true
          failNextWrite(db)
        },
      }),
    )
    t.equal(await pack, 'DATABASE_FAILED')
    await goesOn(db)
    t.equal(await codeOf(() => early.root.n), 'READ_CONFLICT')
    early.sync()
    t.equal(early.root.n, 3)
    early.close()
    t.ok((await db.verify()).ok)
    await db.pack()
    t.ok((await db.verify()).ok)
    await db.close()
  },
)

t.test('opening again that fails: nothing is read or written until it succeeds', async t => {
  const location = await directory(t)
  const db = await openTestDatabase(location)
  const connection = db.open()
  const level = levelOf(db)
  const open = level.open
  let failures = 0
  level.open = () => {
    failures += 1
    return Promise.reject(new Error('no room'))
  }
  failNextWrite(db)
  t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_FAILED')
  await waitFor('a failure', () => failures > 1)
  await t.rejects(
    db.transact(root => root.n),
    { code: 'DATABASE_FAILED', message: /cannot be: .*no room\. That is tried every second/ },
  )
  t.equal(await codeOf(() => db.transact((_, tx) => void tx.outbox.set('k', new Uint8Array()))), 'DATABASE_FAILED')
  t.equal(await codeOf(() => connection.root.n), 'DATABASE_FAILED')
  level.open = open
  await goesOn(db)
  t.equal(connection.root.n, 0)
  connection.close()
  await db.close()
})

t.test('a database is closed while it is opened again, or while it cannot be', async t => {
  for (const moment of ['failed', 'closing', 'closed', 'opening', 'shut'] as const) {
    const location = await directory(t)
    const db = await openTestDatabase(location)
    await db.transact(root => void (root.n = 1))
    const level = levelOf(db)
    let tx: Transaction | undefined
    let closing: Promise<void> | undefined
    const close = () => {
      closing = db.close()
    }
    if (moment === 'shut') level.open = () => Promise.reject(new Error('no room')).finally(() => setImmediate(close))
    else if (moment !== 'failed') level.once(moment, close)
    failNextWrite(db, { written: true })
    const work = db.transact((root, its) => {
      tx = its
      root.n = 2
    })
    t.equal(await codeOf(() => work), 'DATABASE_FAILED', moment)
    if (moment === 'failed') close()
    await waitFor('the end', () => closing !== undefined)
    await closing
    // before the first attempt, or after it
    if (moment !== 'failed') t.equal(await tx?.outcome, moment === 'shut' ? undefined : true, moment)
    t.equal(await codeOf(() => db.transact(() => 0)), 'DATABASE_CLOSED')
    const again = await openTestDatabase(location)
    t.equal(await again.transact(root => root.n), 2)
    await again.close()
  }
})

t.test(
  'another process that gets the database meanwhile: it is not opened again, since it may have been changed',
  async t => {
    const program = `
    const { openTestDatabase } = await import('${PROJECT}tests/support/database.ts')
    const db = await openTestDatabase(process.argv[1])
    await db.transact(root => void (root.n = 5))
    console.log('open')
    if (process.argv[2] === 'stay') setInterval(() => undefined, 1000)
    else await db.close()`
    const args = (...more: string[]) => [LOADER, '--input-type=module', '-e', program, ...more]
    for (const moment of ['before', 'at last'] as const) {
      const location = await directory(t)
      const db = await openTestDatabase(location)
      const level = levelOf(db)
      const comeAndGo = () => {
        const { status, stderr } = spawnSync(process.execPath, args(location), { cwd: PROJECT, encoding: 'utf8' })
        t.equal(status, 0, stderr)
      }
      if (moment === 'before') level.once('closed', comeAndGo)
      else level.once('opening', comeAndGo)
      failNextWrite(db)
      t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_FAILED')
      const message = await waitFor('what is said', async () => {
        const { message } = await db.transact(root => root.n).catch(error => error)
        return /another process has had/.exec(message ?? '')
      })
      t.ok(message)
      t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_FAILED')
      await db.close()
      const again = await openTestDatabase(location)
      t.equal(await again.transact(root => root.n), 5)
      await again.close()
    }
    const location = await directory(t)
    const db = await openTestDatabase(location)
    const level = levelOf(db)
    const open = level.open.bind(level)
    let other: Child | undefined
    level.open = async (options = {}) => {
      if (other === undefined) {
        other = launchProgram(t, process.execPath, args(location, 'stay'), { cwd: PROJECT })
        await waitFor('the other process', () => other!.output().includes('open'))
      }
      await open(options as object)
    }
    failNextWrite(db)
    t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_FAILED')
    const says = (what: RegExp) =>
      waitFor(String(what), async () => {
        const error = await db.transact(root => root.n).catch(error => error)
        return error.code === 'DATABASE_FAILED' && what.test(error.message)
      })
    await says(/is in use: /)
    other!.process.kill()
    await other!.ended
    await says(/another process has had .*: close the database, and open it again$/)
    await db.close()
  },
)
