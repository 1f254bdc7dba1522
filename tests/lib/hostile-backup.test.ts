/** Databases and backups that somebody made up, with right checksums: read, restored and packed without leaving their directory. */
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { serialize } from 'node:v8'
import t, { type Test } from 'tap'
import { Blob, type Connection, restoreDatabase } from '../../lib/index.ts'
import { pickle } from '../../lib/pickle.ts'
import { asState } from '../../lib/state.ts'
import { openDirectory } from '../../lib/storage/directory.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import { launch } from '../support/children.ts'
import { repeatably } from '../support/clock.ts'
import { codeOf, Item, openTestDatabase } from '../support/database.ts'
import { HOSTILE } from '../support/hostile-levels.ts'
import { rowsOf, specOf, writeFiles } from '../support/level-files.ts'
import { directory } from '../support/program.ts'

/** A database with a blob in its root. @returns its oid and serial */
async function withBlob(home: string): Promise<{ oid: number; serial: number; id: string }> {
  const db = await openTestDatabase(home)
  const blob = await db.transact(async root => {
    const blob = new Blob()
    root.any = blob
    ;(root._p_jar as Connection).add(blob)
    await blob.write('a content')
    return blob
  })
  const found = await db.transact(root => ({ oid: blob._p_oid!, serial: (root.any as Blob)._p_serial! }))
  await db.close()
  const id = readdirSync(join(home, 'blobs'), { recursive: true, encoding: 'utf8' }).find(name =>
    /[0-9a-f]{24}$/.test(name),
  )!
  return { ...found, serial: found.serial, id: id.slice(-24) }
}

/** Commits a state of the blob, and rows, as a database of somebody else's making would have them. */
async function forge(home: string, oid: number, serial: number, content: unknown, rows: string[]): Promise<void> {
  const { level, witness } = await openDirectory(home, { create: false })
  const storage = await LevelStorage.open(level, home, { create: false, witness })
  const state = pickle(asState({ mediaType: 'x/y', content }), () => undefined as never, 'it')
  await storage.commit({
    changes: [{ oid, serial, record: { className: 'Blob', version: 1, state: Buffer.from(state) }, references: [] }],
    reads: new Map(),
    outbox: new Map(rows.map(row => [row, new Uint8Array()])),
    user: '',
    note: '',
    extension: {},
    merge: () => undefined,
  })
  await storage.close()
}

t.test('a blob whose content is named like a path neither reads, writes nor removes anything outside', async t => {
  const home = await directory(t)
  const outside = join(home, 'outside')
  mkdirSync(outside)
  writeFileSync(join(outside, 'secret'), 'secret')
  const names = [
    '../../../outside/secret',
    '../../../../outside/secret',
    '../outside/secret',
    '/etc/passwd',
    'x/../../../outside/secret',
    '..',
    '.',
    '',
  ]
  for (const [i, id] of [...names, 'a'.repeat(23), `${'A'.repeat(24)}`, 5, null, { toString: 'x' }].entries()) {
    const place = join(home, `${i}`)
    const { oid, serial } = await withBlob(place)
    const name = typeof id === 'string' ? id : JSON.stringify(id)
    const content = { id, size: 6, sha256: 'a'.repeat(64) }
    await forge(place, oid, serial, content, [
      `blob/${name}/${oid}`,
      `blob/${name}`,
      'blob/',
      `blob/${'b'.repeat(24)}/1e3`,
    ])
    const db = await openTestDatabase(place)
    const read: Buffer[] = []
    const code = await codeOf(() =>
      db.transact(async root => {
        for await (const piece of (root.any as Blob).read()) read.push(piece as Buffer)
      }),
    )
    t.equal(code, 'DATABASE_CORRUPT', `${name}: it is refused`)
    t.same(read, [], 'before the first byte')
    const { ok, problems } = await db.verify()
    t.notOk(ok)
    t.ok(
      problems.some(({ kind }) => kind === 'blob') && problems.some(({ kind }) => kind === 'outbox'),
      'verify tells of it',
    )
    await db.pack()
    await db.pack()
    await codeOf(() => db.backup(join(home, `${i}.backup`)))
    await db.close()
    await codeOf(() => restoreDatabase(place, join(home, `${i}.restored`)))
    t.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret')
    t.same(readdirSync(outside), ['secret'])
  }
  t.same(
    readdirSync(home).filter(name => !/^(\d+(\.backup|\.restored)?|outside)$/.test(name)),
    [],
    'nothing was written beside',
  )
})

t.test('other files among the contents are left alone, and hold nobody up', async t => {
  const home = await directory(t)
  const { id } = await withBlob(home)
  mkdirSync(join(home, 'blobs/new/a directory'), { recursive: true })
  mkdirSync(join(home, `blobs/new/${'0'.repeat(24)}`))
  writeFileSync(join(home, 'blobs/new/notes.txt'), 'mine')
  const db = await openTestDatabase(home)
  t.equal(String(await db.transact(root => (root.any as Blob).bytes())), 'a content')
  await db.pack()
  await db.close()
  t.equal(readFileSync(join(home, 'blobs/new/notes.txt'), 'utf8'), 'mine')
  t.equal(readFileSync(join(home, 'blobs', id.slice(0, 2), id), 'utf8'), 'a content')
})

/** The lines of a child that tries the cases from 0 on, and is started again behind one at which it ended. */
async function outcomes(t: Test, script: string, args: string[], home: string, cases: number): Promise<string[]> {
  const found: string[] = []
  while (found.length < cases) {
    const from = found.length
    const { stdout, end, stderr } = await launch(t, script, [...args, home, `${from}`, `${cases}`]).ended
    for (const [, number, what] of stdout.matchAll(/^(\d+) (.*)$/gm)) found[Number(number)] = what!
    const last = found.length - 1
    if (end === 0 && last >= from) continue
    t.fail(`case ${found[last] === '' ? last : last + 1}: the process ended with ${end}: ${stderr.slice(-500)}`)
    if (found[last] !== '') found.push('the process ended')
  }
  return found
}

const CASES = 450

t.test(`${CASES} backups with changed files: each is refused or restored as it was, and no process ends`, async t => {
  const home = await directory(t)
  await repeatably(async () => {
    const db = await openTestDatabase(join(home, 'live'))
    for (let round = 0; round < 3; round++)
      await db.transact(root => {
        for (let i = 0; i < 60; i++) root.tree.set(i, new Item(`item ${i} ${'abc'.repeat((i % 9) * 10)} ${round}`))
      })
    await db.transact(async root => {
      const blob = new Blob()
      root.any = blob
      ;(root._p_jar as Connection).add(blob)
      await blob.write('x'.repeat(500))
    })
    await db.backup(join(home, 'backup'))
    await db.close()
  })
  const counts: Record<string, number> = {}
  const found = await outcomes(t, 'tests/support/restorer.ts', [join(home, 'backup')], home, CASES)
  for (const [number, what] of found.entries()) {
    counts[what] = (counts[what] ?? 0) + 1
    if (!/^(refused DATABASE_(CORRUPT|FAILED|FORMAT)|restored)$/.test(what)) t.fail(`case ${number}: ${what}`)
  }
  t.comment(JSON.stringify(counts))
  t.ok(counts['refused DATABASE_CORRUPT']! > 100)
})

/** How many directories are made up by chance, beside those that are known to end LevelDB. */
const MUTATED = 150

t.test(
  `${HOSTILE.length + MUTATED} databases made up with right checksums: LevelDB sees none of which it would end the process`,
  async t => {
    const home = await directory(t)
    const sound = join(home, 'sound')
    await repeatably(async () => {
      const { oid } = await withBlob(sound)
      const db = await openTestDatabase(sound)
      await db.transact(root => {
        for (let i = 0; i < 150; i++) root.tree.set(i, new Item(`item ${i} ${oid} ${'abc'.repeat((i % 9) * 10)}`))
      })
      await db.backup(join(home, 'backup'))
      await db.close()
    })
    cpSync(join(home, 'backup'), join(home, 'read'), { recursive: true })
    const rows = await rowsOf(join(home, 'read'))
    writeFileSync(join(home, 'rows'), serialize(rows))
    const made = join(home, 'made')
    writeFiles(made, join(home, 'backup'), specOf(rows))
    const { records } = await restoreDatabase(made, join(home, 'restored'))
    t.ok(records > 150, 'what is made as LevelDB makes it is restored')

    const args = [join(home, 'backup'), join(home, 'rows')]
    const found = await outcomes(t, 'tests/support/forger.ts', args, home, HOSTILE.length + MUTATED)
    for (const [i, what] of found.slice(0, HOSTILE.length).entries())
      t.match(
        what,
        /^refused DATABASE_CORRUPT .* is damaged, or made up: (\d+\.(ldb|log)|MANIFEST-000002): /,
        HOSTILE[i]![0],
      )
    for (const [i, what] of found.slice(HOSTILE.length).entries())
      if (!/^(refused DATABASE_(CORRUPT|FORMAT) |restored|unmade )/.test(what)) t.fail(`mutation ${i}: ${what}`)
    t.ok(found.includes('restored'), 'some changes make no difference')
  },
)

t.test('a backup with links is refused, and what they lead to stays as it is', async t => {
  const home = await directory(t)
  const backup = join(home, 'backup')
  const db = await openTestDatabase(join(home, 'live'))
  await db.transact(root => void (root.n = 1))
  await db.backup(backup)
  await db.close()
  const mine = join(home, 'mine')
  const files = readdirSync(backup)
  const links = ['000099.log', '000099.ldb', 'MANIFEST-000099', '000099.dbtmp', 'TABLES.new', 'LOG', 'LOG.old', 'LOCK']
  for (const name of [
    ...links,
    'CURRENT',
    'COMMITTED',
    'TABLES',
    files.find(each => each.startsWith('MANIFEST-'))!,
    'blobs',
  ]) {
    const copy = join(home, 'copy')
    rmSync(copy, { recursive: true, force: true })
    rmSync(mine, { recursive: true, force: true })
    cpSync(backup, copy, { recursive: true })
    const sound = join(copy, name)
    if (files.includes(name)) cpSync(sound, mine, { recursive: true })
    else writeFileSync(mine, 'mine')
    const before = name === 'blobs' ? '' : readFileSync(mine)
    rmSync(sound, { recursive: true, force: true })
    symlinkSync(mine, sound)
    await t.rejects(restoreDatabase(copy, join(home, 'restored')), { code: 'DATABASE_CORRUPT', message: /link/ }, name)
    if (before !== '') t.same(readFileSync(mine), before)
  }
})
