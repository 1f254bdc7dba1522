/** Backup while the database is in use, and restore. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Blob, type Database, restoreDatabase } from '../../lib/index.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { directory } from '../support/program.ts'

const sum = (root: Root) => (root.list as Item[]).reduce((total, { label }) => total + Number(label), 0)

/** Ten accounts, which always hold 1000 together. */
async function accounts(home: string): Promise<Database<Root>> {
  const db = await openTestDatabase(home)
  await db.transact(root => void (root.list = Array.from({ length: 10 }, () => new Item('100'))))
  return db
}

function transfer(root: Root, from: number, to: number, amount: number): void {
  const [a, b] = [root.list[from] as Item, root.list[to] as Item]
  a.label = `${Number(a.label) - amount}`
  b.label = `${Number(b.label) + amount}`
}

t.test('a backup is of one state, whatever is committed meanwhile, and can be restored', async t => {
  const home = await directory(t)
  const db = await accounts(join(home, 'live'))
  await db.transact(root => {
    for (let i = 0; i < 3000; i++) root.tree.set(i, new Item('x'.repeat(200)))
  })
  let over = false
  const writer = (async () => {
    for (let i = 1; !over; i++) await db.transact(root => transfer(root, i % 10, (i * 7 + 3) % 10, i % 5))
  })()
  const steps: number[] = []
  const result = await db.backup(join(home, 'backup'), { progress: done => steps.push(done) })
  over = true
  await writer
  t.ok(steps.length > 1, 'it tells how far it is')
  t.equal(result.directory, join(home, 'backup'))
  t.same(readdirSync(home).sort(), ['backup', 'live'], 'nothing else is left')
  writeFileSync(join(home, 'file'), 'mine')
  for (const [where, message] of [
    ['backup', /not empty/],
    ['file', /not a directory/],
    ['live', /in what is to be copied/],
    ['live/backup', /in what is to be copied/],
  ] as const)
    await t.rejects(db.backup(join(home, where)), { code: 'INVALID_ARGUMENT', message })
  const last = await db.transact(root => sum(root))
  await db.close()

  t.match(await restoreDatabase(join(home, 'backup'), join(home, 'restored')), { tid: result.tid })
  const restored = await openTestDatabase(join(home, 'restored'))
  t.equal(await restored.transact(root => sum(root)), 1000)
  t.equal(last, 1000)
  t.not(restored.id, db.id, 'a copy is another database')
  t.match(await restored.verify(), { ok: true })
  t.ok((await restored.undoLog()).length > 1, 'with its history')
  await restored.transact(root => transfer(root, 1, 2, 5))
  await restored.close()
})

t.test('of two backups to the same place one is made, and whole; what a killed one left is removed', async t => {
  const home = await directory(t)
  const db = await accounts(join(home, 'live'))
  const to = join(home, 'backup')
  // no process can have that number
  const dead = 4_194_305
  mkdirSync(`${to}.${dead}-1.partial`)
  mkdirSync(`${to}.${process.pid}-99.partial`)
  mkdirSync(join(home, 'disk'))
  symlinkSync(join(home, 'disk'), join(home, 'link'))
  t.match(await db.backup(join(home, 'link')), { directory: join(home, 'disk') }, 'a link is followed')
  rmSync(join(home, 'disk'), { recursive: true })
  rmSync(join(home, 'link'))
  const outcomes = await Promise.all([codeOf(() => db.backup(to)), codeOf(() => db.backup(to))])
  t.equal(outcomes.filter(code => code === undefined).length, 1)
  t.match(outcomes.sort()[0], /^(DATABASE_FAILED|INVALID_ARGUMENT)$/)
  t.same(readdirSync(home).sort(), ['backup', `backup.${process.pid}-99.partial`, 'live'])
  await db.close()
  const copy = await openTestDatabase(to)
  t.match(await copy.verify(), { ok: true })
  t.equal(await copy.transact(root => sum(root)), 1000)
  await copy.close()
})

t.test('blobs are in the backup', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(join(home, 'live'))
  await db.transact(async root => {
    const blob = new Blob()
    root.any = blob
    ;(root._p_jar as ReturnType<typeof db.open>).add(blob)
    await blob.write('some content')
  })
  t.match(await db.backup(join(home, 'backup')), { blobs: 1 })
  await db.close()
  await restoreDatabase(join(home, 'backup'), join(home, 'restored'))
  const restored = await openTestDatabase(join(home, 'restored'))
  t.equal(String(await restored.transact(root => (root.any as Blob).bytes())), 'some content')
  await restored.close()
})

/** A database with two blobs in its list, and their contents' files by what they hold. */
async function withBlobs(
  home: string,
): Promise<{ db: Database<Root>; fileOf: (text: string, in_?: string) => string }> {
  const db = await openTestDatabase(home)
  await db.transact(async root => {
    for (const text of ['the first content', 'the second content']) {
      const blob = new Blob()
      root.list.push(blob)
      ;(root._p_jar as ReturnType<typeof db.open>).add(blob)
      await blob.write(text)
    }
  })
  return {
    db,
    fileOf: (text, within = home) => {
      const files = readdirSync(join(within, 'blobs'), { recursive: true, withFileTypes: true })
      const paths = files.filter(file => file.isFile()).map(file => join(file.parentPath, file.name))
      return paths.find(path => readFileSync(path, 'utf8') === text) as string
    },
  }
}

t.test(
  'verify finds a blob whose content is damaged or missing, in the database, a backup and what was restored',
  async t => {
    const home = await directory(t)
    const { db, fileOf } = await withBlobs(join(home, 'live'))
    const oid = await db.transact(root => (root.list[1] as Blob)._p_oid)
    t.match(await db.verify(), { ok: true })
    await db.backup(join(home, 'backup'))
    await restoreDatabase(join(home, 'backup'), join(home, 'restored'))
    for (const place of ['live', 'backup', 'restored']) {
      const here = place === 'live' ? db : await openTestDatabase(join(home, place))
      t.match(await here.verify(), { ok: true }, place)
      const file = fileOf('the second content', join(home, place))
      writeFileSync(file, 'the second ContenT')
      const { ok, problems } = await here.verify()
      t.notOk(ok)
      t.match(problems, [{ kind: 'blob', oid, message: /checksum/ }])
      t.equal(problems.length, 1)
      t.ok(problems[0]?.message.includes(file), 'the file is named')
      rmSync(file)
      t.match((await here.verify()).problems, [{ kind: 'blob', oid, message: /missing/ }])
      await here.close()
    }
  },
)

t.test('a damaged content is noticed by backup and by restore, which then leave nothing', async t => {
  const home = await directory(t)
  const { db, fileOf } = await withBlobs(join(home, 'live'))
  await db.backup(join(home, 'backup'))
  writeFileSync(fileOf('the first content'), 'the first Content')
  await t.rejects(db.backup(join(home, 'second')), { code: 'DATABASE_CORRUPT', message: /blob.*checksum/ })
  writeFileSync(fileOf('the second content', join(home, 'backup')), 'the second conten')
  await t.rejects(restoreDatabase(join(home, 'backup'), join(home, 'restored')), {
    code: 'DATABASE_CORRUPT',
    message: /17 bytes instead of 18/,
  })
  t.same(readdirSync(home).sort(), ['backup', 'live'])
  await db.close()
})

t.test('a damaged backup is refused, and so is a backup of a damaged database; nothing half is left', async t => {
  const home = await directory(t)
  const db = await accounts(join(home, 'live'))
  await db.backup(join(home, 'backup'))
  await db.close()
  const table = readdirSync(join(home, 'backup')).find(name => name.endsWith('.ldb')) as string
  const bytes = readFileSync(join(home, 'backup', table))
  bytes[30]! ^= 1
  writeFileSync(join(home, 'backup', table), bytes)
  t.equal(await codeOf(() => restoreDatabase(join(home, 'backup'), join(home, 'restored'))), 'DATABASE_CORRUPT')
  t.notOk(existsSync(join(home, 'restored')))
  t.equal(await codeOf(() => restoreDatabase(join(home, 'nowhere'), join(home, 'restored'))), 'NOT_FOUND')
  mkdirSync(join(home, 'empty'))
  const again = await openTestDatabase(join(home, 'live'))
  await again.backup(join(home, 'empty'))
  t.equal(await codeOf(() => again.backup(join(home, 'backup', 'CURRENT', 'x'))), 'DATABASE_FAILED')
  await again.close()
})
