/** Damage to any file of the directory: never a wrong answer, never a commit that is missing in silence; the rest stays readable. */
import { randomBytes } from 'node:crypto'
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import t from 'tap'
import { Blob, type Connection, type Database, ObjectError } from '../../lib/index.ts'
import { listedTables, liveTables } from '../../lib/storage/manifest.ts'
import { isMerging, mergedAtOpening } from '../../lib/storage/merging.ts'
import { launch } from '../support/children.ts'
import { repeatably } from '../support/clock.ts'
import { codeOf, Item, openTestDatabase, type Root } from '../support/database.ts'
import { directory } from '../support/program.ts'
import { OBJECTS, readAll } from '../support/readable.ts'
import { waitFor } from '../support/waiting.ts'

const ROUNDS = 600

const BLOB = 'a content '.repeat(50)

/** A database of several tables, a log and a blob, with the newest revision of some objects in each. @returns what its objects say, by commit */
async function build(home: string, rounds = 6): Promise<{ labels: string[]; notes: string[] }> {
  const labels = Array.from({ length: OBJECTS }, (_, i) => `item ${i}`)
  const notes: string[] = []
  for (let round = 0; round < rounds; round++) {
    const db = await openTestDatabase(home)
    await db.transact(
      root => {
        for (let i = 0; i < OBJECTS; i++) {
          if (round > 0 && i % (round + 1) !== 0) continue
          labels[i] = `item ${i} of round ${round} ${'abc'.repeat((i % 7) * 30)}`
          if (root.list[i] === undefined) root.list[i] = new Item(labels[i])
          else (root.list[i] as Item).label = labels[i]!
        }
      },
      { note: `round ${round}` },
    )
    if (round === 1)
      await db.transact(async (root, tx) => {
        const blob = new Blob()
        root.any = blob
        ;(root._p_jar as Connection).add(blob)
        await blob.write(BLOB)
        tx.outbox.set('test/row', Buffer.from('do this'))
        tx.note = 'blob'
      })
    if (round === 1) notes.unshift('blob')
    notes.unshift(`round ${round}`)
    if (round === 2) await db.pack({ before: (await db.undoLog())[1]!.tid })
    await db.close()
  }
  return { labels, notes }
}

/** The content of the blob, and the outbox row; or the code of the error that is there instead. */
async function restOf(db: Database<Root>): Promise<string[]> {
  const text = async (read: () => Promise<string>) => {
    try {
      return await read()
    } catch (error) {
      return `error ${(error as ObjectError).code}`
    }
  }
  return [
    await text(() => db.transact(async root => String(await (root.any as Blob).bytes()))),
    await text(async () => {
      for await (const [, value] of db.outbox.outboxRows('test/'))
        return value === undefined ? 'error DATABASE_CORRUPT' : Buffer.from(value).toString()
      return 'nothing'
    }),
  ]
}

/** A repeatable source of randomness. */
function random(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

t.test(`${ROUNDS} random damages: an answer is right or an error`, async t => {
  const home = await directory(t)
  const sound = join(home, 'sound')
  const expected = await repeatably(() => build(sound))
  const sane = await openTestDatabase(sound)
  const undamaged = await readAll(sane)
  t.same(undamaged.labels, expected.labels)
  t.same(await restOf(sane), [BLOB, 'do this'])
  t.match(await sane.verify(), { ok: true, problems: [] })
  await sane.close()
  t.ok(readdirSync(sound).filter(name => name.endsWith('.ldb')).length >= 2, 'there are several tables')

  process.removeAllListeners('warning')
  const counts = { refused: 0, partly: 0, harmless: 0 }
  for (let round = 0; round < ROUNDS; round++) {
    const pick = random(round * 7919 + 1)
    const copy = join(home, 'copy')
    cpSync(sound, copy, { recursive: true, force: true })
    const names = readdirSync(sound, { recursive: true, withFileTypes: true })
      .filter(each => each.isFile() && !['LOCK', 'LOG', 'LOG.old'].includes(each.name))
      .map(each => join(relative(sound, each.parentPath), each.name))
    const file = join(copy, names[pick(names.length)]!)
    const bytes = readFileSync(file)
    const what = ['flip', 'flip', 'flip', 'truncate', 'zero'][pick(5)]
    const at = pick(bytes.length)
    if (what === 'flip') bytes[at]! ^= 1 << pick(8)
    if (what === 'zero') bytes.fill(0, at, Math.min(bytes.length, at + 1 + pick(40)))
    if (what === 'truncate') truncateSync(file, at)
    else writeFileSync(file, bytes)
    const where = `round ${round}: ${what} ${file} at ${at}`
    let db: Database<Root> | undefined
    try {
      db = await openTestDatabase(copy)
      const found = await readAll(db)
      const wrong = found.labels.filter(
        (label, i) => label !== expected.labels[i] && label !== 'error DATABASE_CORRUPT',
      )
      if (wrong.length > 0) t.fail(`${where}: a wrong answer: ${wrong[0]}`)
      if (found.notes !== undamaged.notes && found.notes !== 'error DATABASE_CORRUPT')
        t.fail(`${where}: transactions are missing: ${found.notes}`)
      const rest = await restOf(db)
      for (const [i, right] of [BLOB, 'do this'].entries())
        if (rest[i] !== right && rest[i] !== 'error DATABASE_CORRUPT') t.fail(`${where}: a wrong answer: ${rest[i]}`)
      const whole =
        found.labels.every((label, i) => label === expected.labels[i]) && !rest.includes('error DATABASE_CORRUPT')
      if (whole) counts.harmless += 1
      else counts.partly += 1
      const { ok } = await db.verify()
      if (!whole && ok) t.fail(`${where}: verify finds nothing`)
    } catch (error) {
      if (
        !(error instanceof ObjectError) ||
        !['DATABASE_CORRUPT', 'DATABASE_FAILED', 'DATABASE_FORMAT'].includes(error.code)
      )
        t.fail(`${where}: ${String(error)}`)
      counts.refused += 1
    }
    await db?.close()
    rmSync(copy, { recursive: true, force: true })
  }
  t.comment(JSON.stringify(counts))
  t.ok(counts.harmless > 10 && counts.refused > 10, 'damage of both kinds was met')
})

t.test('a damaged table is named and refused; salvage reads what is certain, and writes nothing', async t => {
  const home = await directory(t)
  const sound = join(home, 'sound')
  const { labels } = await build(sound)
  const tables = [...liveTables(sound)!]
  const outcomes = { right: 0, refused: 0 }
  const harms: ((bytes: Buffer, pick: (below: number) => number) => void)[] = [
    (bytes, pick) => void (bytes[pick(bytes.length)]! ^= 1 << pick(8)),
    // in what lies there now LevelDB would see keys that are too short
    (bytes, pick) => void bytes.fill(0, bytes.length >>> 1, (bytes.length >>> 1) + pick(bytes.length >>> 2)),
    bytes => void bytes.fill(0xff, bytes.length - 60),
  ]
  for (const table of tables) {
    const pick = random(Number.parseInt(table, 10))
    const copy = join(home, 'copy')
    for (const harm of harms) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      const bytes = readFileSync(join(copy, table))
      harm(bytes, pick)
      writeFileSync(join(copy, table), bytes)
      await t.rejects(openTestDatabase(copy), { code: 'DATABASE_CORRUPT', message: new RegExp(table) })
      // what tells that it is damaged may be gone, too
      if (harm !== harms[0]) rmSync(join(copy, 'TABLES'))
      const { stdout, end } = await launch(t, 'tests/support/salvager.ts', [copy]).ended
      t.equal(end, 0, `${table}: the process does not end at it`)
      const found = JSON.parse(stdout) as { labels: string[]; write: string; ok: boolean; damage: string[] }
      t.match(found, { write: 'DATABASE_CORRUPT', ok: false })
      t.ok(found.damage.includes(table))
      t.ok(readFileSync(join(copy, `${table}.damaged`)).equals(bytes), 'the damaged table stays beside it')
      if (harm === harms.at(-1))
        t.same(found.labels, labels, 'where the list of blocks is damaged, all blocks are found')
      for (const [i, label] of found.labels.entries()) {
        if (label === labels[i]) outcomes.right += 1
        else if (label === 'error DATABASE_CORRUPT') outcomes.refused += 1
        else t.fail(`${table}: a wrong answer: ${label}`)
      }
    }
  }
  t.comment(JSON.stringify(outcomes))
  t.ok(outcomes.right > 0, 'what can be read is read')
})

t.test(
  'salvage: LevelDB makes no list with a table that has nothing left, and what is older than it was is told',
  async t => {
    const home = await directory(t)
    const sound = join(home, 'sound')
    const copy = join(home, 'copy')
    const { labels } = await build(sound)
    const manifest = readFileSync(join(sound, 'CURRENT'), 'utf8').trim()
    const [oldest, newest] = [[...liveTables(sound)!].sort()[0]!, [...liveTables(sound)!].sort().at(-1)!]
    for (const table of [oldest, newest]) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      const bytes = readFileSync(join(copy, manifest))
      bytes[bytes.length - 5]! ^= 1
      writeFileSync(join(copy, manifest), bytes)
      truncateSync(join(copy, table), 100)
      const { stdout, end, stderr } = await launch(t, 'tests/support/salvager.ts', [copy]).ended
      t.equal(end, 0, stderr)
      for (const label of (JSON.parse(stdout) as { labels: string[] }).labels)
        t.ok(labels.includes(label) || label === 'error DATABASE_CORRUPT', label)
    }
    rmSync(copy, { recursive: true, force: true })
    cpSync(sound, copy, { recursive: true })
    const log = readdirSync(copy).find(name => name.endsWith('.log'))!
    truncateSync(join(copy, log), 10)
    truncateSync(join(copy, oldest), 100)
    const told: string[] = []
    const listen = (warning: Error) => void told.push(warning.message)
    process.on('warning', listen)
    t.teardown(() => process.off('warning', listen))
    const db = await openTestDatabase(copy, { salvage: true })
    const { problems } = await db.verify()
    t.match(problems.find(({ kind }) => kind === 'transaction')?.message, /objects may be older than they were/)
    t.match(told.join(), /may be older than it was.*transactions are missing/)
    await db.close()
  },
)

t.test('tables that a killed process has not put on record are refused if they are damaged, and none else', async t => {
  const home = await directory(t)
  const sound = join(home, 'sound')
  const { labels } = await build(sound)
  const copy = join(home, 'copy')
  const content = JSON.stringify({ tables: {}, damaged: [] })
  writeFileSync(join(sound, 'TABLES'), `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`)
  const harms: ((path: string) => void)[] = [
    path => {
      const bytes = readFileSync(path)
      bytes[bytes.length >>> 1]! ^= 1
      writeFileSync(path, bytes)
    },
    path => writeFileSync(path, readFileSync(path).fill(0, 100, 400)),
    path => truncateSync(path, 300),
  ]
  for (const table of liveTables(sound)!)
    for (const harm of harms) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      harm(join(copy, table))
      for (let turn = 0; turn < 2; turn++)
        await t.rejects(openTestDatabase(copy), { code: 'DATABASE_CORRUPT', message: new RegExp(table) })
    }
  const db = await openTestDatabase(sound)
  t.same((await readAll(db)).labels, labels)
  t.match(await db.verify(), { ok: true })
  await db.close()
})

t.test('without the checksums of its tables a database is refused, whatever else is damaged', async t => {
  const home = await directory(t)
  const sound = join(home, 'sound')
  const { labels } = await build(sound)
  const copy = join(home, 'copy')
  const harms: [string, () => void][] = [
    ['missing', () => rmSync(join(copy, 'TABLES'))],
    ['empty', () => truncateSync(join(copy, 'TABLES'))],
    ['changed', () => writeFileSync(join(copy, 'TABLES'), readFileSync(join(sound, 'TABLES')).fill('0', 20, 24))],
  ]
  for (const [what, harm] of harms)
    for (const table of [undefined, ...liveTables(sound)!]) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      harm()
      if (table !== undefined) {
        const bytes = readFileSync(join(copy, table))
        for (let at = 10; at < bytes.length; at += 100) bytes[at]! ^= 0xff
        writeFileSync(join(copy, table), bytes)
      }
      for (let turn = 0; turn < 2; turn++)
        await t.rejects(
          openTestDatabase(copy),
          { code: 'DATABASE_CORRUPT', message: /TABLES.*backup.*salvage/ },
          `${what}, ${table ?? 'nothing'} damaged`,
        )
      if (table !== undefined) continue
      const db = await openTestDatabase(copy, { salvage: true })
      t.same([db.damage, (await readAll(db)).labels], [['TABLES'], labels], 'salvage reads it')
      t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_CORRUPT')
      await db.close()
      await t.rejects(openTestDatabase(copy), { code: 'DATABASE_CORRUPT' }, 'what was found stays noted')
    }
})

t.test('a damaged table is found before LevelDB merges it with others, or ends at what it finds there', async t => {
  const home = await directory(t)
  const sound = join(home, 'sound')
  await build(sound, 7)
  t.ok(
    mergedAtOpening(sound, listedTables(sound)!).length > 0,
    'the next opening makes the fourth table of the first level',
  )
  const copy = join(home, 'copy')
  for (const table of liveTables(sound)!)
    for (const part of [0.2, 0.5]) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      const bytes = readFileSync(join(copy, table))
      bytes[Math.floor(bytes.length * part)]! ^= 1
      writeFileSync(join(copy, table), bytes)
      for (let turn = 0; turn < 2; turn++)
        await t.rejects(openTestDatabase(copy), { code: 'DATABASE_CORRUPT', message: new RegExp(table) })
      t.ok(existsSync(join(copy, table)), `${table} is still there`)
    }
  const merging = () => isMerging(listedTables(sound)!)
  await (await openTestDatabase(sound)).close()
  // closing waits for a second at most
  for (let turn = 0; turn < 4 && merging(); turn++) await (await openTestDatabase(sound)).close()
  t.notOk(merging(), 'what was closed leaves no merge to the next opening')
})

t.test('the tables that LevelDB merges as it opens are known beforehand', async t => {
  const home = await directory(t)
  const open = async () => {
    const level = new Level<Buffer, Buffer>(home, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await level.open()
    return level
  }
  const pick = random(4)
  /** Writes until tables are to be merged; the log is empty. */
  const fill = async () => {
    for (;;) {
      const level = await open()
      for (let part = 0; part < 30; part++) {
        const batch = level.batch()
        for (let i = 0; i < 200; i++) batch.put(Buffer.from([pick(250), pick(250)]), randomBytes(1000))
        await batch.write()
      }
      await level.close()
      await (await open()).close()
      const listed = listedTables(home)!
      const merged = mergedAtOpening(home, listed)
      if (merged.length > 0) return { live: listed.live, foreseen: new Set(merged.map(({ name }) => name)) }
    }
  }
  const log = () => readFileSync(join(home, 'LOG'), 'utf8')
  for (let turn = 0; turn < 3; turn++) {
    const { live, foreseen } = await fill()
    const level = await open()
    await waitFor('a merge, or a move', async () => /Compacted|Moved/.test(log()))
    await level.close()
    const [first, ...others] = [...log().matchAll(/Moved|Compacting (\d+)@\d \+ (\d+)@/g)]
    t.comment(first![0])
    if (first![1] === undefined) continue
    t.ok(Number(first![1]) + Number(first![2]) <= foreseen.size, `${first![0]}, foreseen ${foreseen.size}`)
    // what merges after the first one take was foreseen by nobody
    if (others.length > 0) continue
    const { dropped } = listedTables(home)!
    for (const name of live) if (dropped.has(name)) t.ok(foreseen.has(name), `${name} was merged`)
  }
})

t.test(
  "a damaged list of LevelDB's files is refused, as often as it is tried, with every table kept; salvage makes a new one",
  async t => {
    const home = await directory(t)
    const sound = join(home, 'sound')
    for (let round = 0; round < 3; round++) {
      const db = await openTestDatabase(sound)
      for (let part = 0; part < 4; part++)
        await db.transact(root => {
          for (let i = 0; i < 30; i++)
            root.tree.set(round * 1000 + part * 100 + i, new Item(randomBytes(30_000).toString('latin1')))
        })
      await db.close()
    }
    const manifest = readFileSync(join(sound, 'CURRENT'), 'utf8').trim()
    const { length } = readFileSync(join(sound, manifest))
    const cuts = [0, length >>> 1, ...Array.from({ length: 12 }, (_, i) => length - 5 * (i + 1))]
    const harms: [string, (copy: string) => void][] = [
      ['CURRENT is missing', copy => rmSync(join(copy, 'CURRENT'))],
      ['CURRENT is empty', copy => writeFileSync(join(copy, 'CURRENT'), '')],
      ['the manifest is missing', copy => rmSync(join(copy, manifest))],
      [
        'the manifest is in the place of a table',
        copy => {
          writeFileSync(join(copy, '999999.ldb'), readFileSync(join(sound, manifest)))
          rmSync(join(copy, manifest))
        },
      ],
      ...cuts.map((at): [string, (copy: string) => void] => [
        `the manifest ends at ${at} of ${length}`,
        copy => truncateSync(join(copy, manifest), at),
      ]),
    ]
    const tablesIn = (place: string) => readdirSync(place).filter(name => name.endsWith('.ldb'))
    for (const [what, harm] of harms) {
      const copy = join(home, 'copy')
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      harm(copy)
      for (let turn = 0; turn < 2; turn++)
        await t.rejects(
          openTestDatabase(copy),
          { code: 'DATABASE_CORRUPT', message: /backup.*salvage/ },
          `${what}, turn ${turn}`,
        )
      for (const name of tablesIn(sound)) t.ok(tablesIn(copy).includes(name), `${what}: nothing was removed`)
      const db = await openTestDatabase(copy, { salvage: true })
      t.ok(db.damage.includes('MANIFEST'))
      const labels = await db.transact(root => Array.from(root.tree.values(), item => (item as Item).label.length))
      t.equal(labels.length, 360, `${what}: everything is read`)
      t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_CORRUPT')
      await db.close()
    }
  },
)

t.test('commits that the log has lost are noticed, and the loss can be accepted', async t => {
  const home = await directory(t)
  const db = await openTestDatabase(home)
  for (let i = 1; i <= 30; i++) await db.transact(root => void (root.text = `${i} ${'x'.repeat(2000)}`))
  await db.close()
  const log = readdirSync(home).find(name => name.endsWith('.log'))!
  const bytes = readFileSync(join(home, log))
  truncateSync(join(home, log), Math.floor(bytes.length / 2))
  for (let turn = 0; turn < 2; turn++)
    await t.rejects(openTestDatabase(home), {
      code: 'DATABASE_CORRUPT',
      message: /transactions are missing.*COMMITTED/,
    })
  rmSync(join(home, 'COMMITTED'))
  await t.rejects(openTestDatabase(home), { code: 'DATABASE_CORRUPT', message: /transactions are missing/ })
  writeFileSync(join(home, 'COMMITTED'), 'accept\n')
  for (let turn = 0; turn < 2; turn++) {
    const again = await openTestDatabase(home)
    t.match(await again.transact(root => root.text), /^1\d x/)
    t.match(await again.verify(), { ok: true })
    await again.close()
    rmSync(join(home, 'COMMITTED'))
  }
})

t.test('a log that is damaged together with COMMITTED is refused', async t => {
  const home = await directory(t)
  const closed = join(home, 'closed')
  const killed = join(home, 'killed')
  const copy = join(home, 'copy')
  const db = await openTestDatabase(closed)
  for (let i = 1; i <= 40; i++) await db.transact(root => void (root.text = `${i} ${'x'.repeat(1500)}`))
  cpSync(closed, killed, { recursive: true })
  await db.close()
  const log = readdirSync(closed).find(name => name.endsWith('.log'))!
  const { length } = readFileSync(join(closed, log))
  t.ok(length > 2 * 32 * 1024)
  const path = join(copy, log)
  const committed = join(copy, 'COMMITTED')
  const change = (file: string, how: (bytes: Buffer) => Buffer | undefined) => {
    const bytes = readFileSync(file)
    writeFileSync(file, how(bytes) ?? bytes)
  }
  const losses: [string, () => void][] = [
    ['missing', () => rmSync(committed)],
    ['empty', () => truncateSync(committed)],
    ['changed', () => change(committed, bytes => void (bytes[7]! ^= 1))],
    ['too long', () => change(committed, bytes => Buffer.concat([bytes, Buffer.alloc(9)]))],
  ]
  const flips = Array.from({ length: 25 }, (_, i): [string, () => void] => {
    const at = Math.floor((i * length) / 25) + i
    return [`changed at ${at}`, () => change(path, bytes => void (bytes[at]! ^= 1 << (i % 8)))]
  })
  let last = 0
  for (const bytes = readFileSync(join(closed, log)); ; ) {
    const next = last + 7 + bytes.readUInt16LE(last + 4)
    const begin = 32768 - (next % 32768) < 7 ? Math.ceil(next / 32768) * 32768 : next
    if (begin >= bytes.length) break
    last = begin
  }
  const harms: [string, () => void][] = [
    ...flips,
    ['with a length that leads behind its end', () => change(path, bytes => void (bytes[last + 5]! ^= 8))],
    ['with zeros in it', () => change(path, bytes => void bytes.fill(0, 40_000, 40_100))],
    ['missing', () => rmSync(path)],
    [
      'exchanged for COMMITTED',
      () => {
        renameSync(path, `${path}.x`)
        renameSync(committed, path)
        renameSync(`${path}.x`, committed)
      },
    ],
  ]
  process.removeAllListeners('warning')
  const lostWith = async (sound: string, harm: () => void, loss: () => void, what: string) => {
    rmSync(copy, { recursive: true, force: true })
    cpSync(sound, copy, { recursive: true })
    harm()
    loss()
    for (let turn = 0; turn < 2; turn++) await t.rejects(openTestDatabase(copy), { code: 'DATABASE_CORRUPT' }, what)
  }
  for (const [i, [harmed, harm]] of harms.entries())
    for (const sound of [closed, killed]) {
      const [lost, loss] = harmed.startsWith('exchanged')
        ? (['', () => undefined] as const)
        : losses[i % losses.length]!
      await lostWith(sound, harm, loss, `log ${harmed}, COMMITTED ${lost}, ${sound}`)
    }
  for (const [lost, loss] of losses)
    await lostWith(closed, () => truncateSync(path, 30_000), loss, `the log ends too early, COMMITTED ${lost}`)
  for (const sound of [closed, killed])
    for (const [lost, loss] of losses) {
      rmSync(copy, { recursive: true, force: true })
      cpSync(sound, copy, { recursive: true })
      loss()
      for (let turn = 0; turn < 2; turn++) {
        const again = await openTestDatabase(copy)
        t.match(await again.transact(root => root.text), /^40 x/, `COMMITTED ${lost}: a sound log is believed`)
        await again.close()
        t.equal(readFileSync(committed).length, 20, 'and COMMITTED made anew')
      }
    }
})

t.test(
  'in a large database the older tables are checked after it has opened, and nothing is answered from then on',
  async t => {
    const home = await directory(t)
    for (let part = 0; part < 3; part++) {
      const db = await openTestDatabase(home)
      await db.transact(root => {
        for (let i = 0; i < 60; i++) root.tree.set(part * 100 + i, new Item(randomBytes(50_000).toString('latin1')))
      })
      await db.close()
    }
    await (await openTestDatabase(home)).close()
    const tables = readdirSync(home)
      .filter(name => name.endsWith('.ldb'))
      .sort()
    t.ok(tables.length > 1)
    t.same(mergedAtOpening(home, listedTables(home)!), [], 'none is merged at the next opening')
    const oldest = join(home, tables[0]!)
    const bytes = readFileSync(oldest)
    bytes[bytes.length >>> 1]! ^= 1
    writeFileSync(oldest, bytes)
    const db = await openTestDatabase(home)
    await waitFor(
      'the damage to be noticed',
      async () => (await codeOf(() => db.open().release())) === 'DATABASE_CORRUPT',
    )
    t.same(db.damage, [tables[0]])
    t.equal(await codeOf(() => db.transact(root => void (root.n = 1))), 'DATABASE_CORRUPT')
    await db.close()
    await t.rejects(openTestDatabase(home), { code: 'DATABASE_CORRUPT', message: new RegExp(tables[0]!) })
  },
)
