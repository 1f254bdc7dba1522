/** Looking after a database: export, import, pack, verify, backup, restore, upgrade, stats and watch. */
import { existsSync } from 'node:fs'
import { cp, lstat, mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { freshPlace } from '../../lib/index.ts'
import { launchProgram, PROJECT } from '../support/children.ts'
import { mailsIn } from '../support/maildrop.ts'
import { objtreeUser } from '../support/objtree.ts'
import { directory, TOP } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'

t.test('an export is imported as new objects, from a file and from standard input, or refused whole', async t => {
  const temporary = await directory(t)
  const { ok, json, fails, run, cwd } = await objtreeUser(t, { env: { TMPDIR: temporary } })
  await writeFile(join(cwd, 'logo'), Buffer.alloc(200_000, 7))
  await ok(['add', 'File', '/shop/logo', 'content=@logo', '--parents'])
  await ok(['add', 'Template', '/shop/page', 'source=Hello', 'title=P'])
  t.match(
    await ok(['export', '/shop', '--output', 'shop.objtree']),
    /^exported \/shop to .*\/shop\.objtree, 195\.\d KiB\n$/,
  )
  await fails(
    ['export', '/shop', '--output', 'shop.objtree'],
    /there is a file .* already; choose another name, or use --force/,
  )
  const { bytes } = await json<{ bytes: number }>(['export', '/shop', '-o', 'shop.objtree', '--force'])
  t.equal((await readFile(join(cwd, 'shop.objtree'))).length, bytes)
  await symlink('shop.objtree', join(cwd, 'link'))
  await ok(['export', '/shop/page', '--output', 'link', '--force'])
  t.ok((await readFile(join(cwd, 'shop.objtree'))).length < bytes, 'what a link leads to is replaced')
  await ok(['export', '/shop', '--output', 'link', '--force'])
  t.ok((await lstat(join(cwd, 'link'))).isSymbolicLink())
  await fails(['export', '/shop', '--output', '.', '--force'], /is no file; choose another name/)
  t.match(
    await ok(['import', '/copy', 'shop.objtree']),
    /^imported Folder \/copy with 2 objects in it\ntake it back with: objtree undo \d+\n$/,
  )
  t.match(await json(['show', '/copy/page']), { properties: { source: 'Hello', title: 'P' } })
  t.match(await json(['show', '/copy/logo']), { size: 200_000 })
  await fails(['import', '/copy', 'shop.objtree'], /has an object 'copy' already/)
  await fails(['import', '/nix/copy', 'shop.objtree'], /nothing at '\/nix'/)
  await fails(['import', '/', 'shop.objtree'], /the root/)
  await fails(['import', '/x', 'missing.objtree'], /missing\.objtree cannot be read/)
  await fails(['import', '/x', 'data'], /\/data cannot be read: EISDIR/)
  const whole = await readFile(join(cwd, 'shop.objtree'))
  await writeFile(join(cwd, 'half.objtree'), whole.subarray(0, 1000))
  await fails(['import', '/half', 'half.objtree'], /ends too early; nothing was imported/)
  t.same(
    (await json<{ name: string }[]>(['ls', '/'])).map(({ name }) => name),
    ['copy', 'shop'],
  )
  t.equal((await run(['export', '/shop/page'])).stdout.slice(1, 4), 'OTX', 'to standard output')
  t.same(await readdir(temporary), [])
  await fails(['export', '/shop', '--json'], /needs a file: use --output FILE/, 2)
  await fails(['export', '/nix', '-o', 'x'], /nothing at/)
  t.notOk(existsSync(join(cwd, 'x')))
  await fails(['export', '/shop', '-o', 'no/such/place'], /cannot be written: ENOENT/)
})

t.test('pack forgets history, after telling how much', async t => {
  const { ok, json, fails } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=1'])
  const { tid } = await json<{ tid: number }>(['set', '/f', 'title=2'])
  await ok(['rm', '/f'])
  t.match(
    await ok(['pack', '--dry-run']),
    /^would forget what 4 transactions up to .*\nthis cannot be undone; 'objtree backup/,
  )
  t.equal((await json<unknown[]>(['log'])).length, 4, 'a dry run forgets nothing')
  t.match(await json(['pack', '--before', String(tid), '--dry-run']), { transactions: 3, packed: null })
  t.match(await json(['pack', '--before', '12h']), { transactions: 0, revisions: 0 }, 'what is younger than that stays')
  const packed = await json<{ objects: number; revisions: number }>(['pack', '--no-gc'])
  t.ok(packed.revisions > 0)
  t.equal(packed.objects, 0, 'with --no-gc objects stay')
  t.match(await ok(['pack']), /^packed up to .*: .* forgotten, [1-9]\d* objects removed\n$/)
  await fails(['undo', String(tid)], /no longer known|packed|no transaction/)
  await fails(['pack', '--before', 'tomorrow'], /--before: expected a transaction's id/, 2)
})

t.test('backup makes a copy, restore a database of it; what was there is kept aside and can be taken back', async t => {
  const { ok, json, fails, cwd } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=then'])
  t.match(
    await ok(['backup', 'backups/monday']),
    /^backup in .*\/backups\/monday: \d+ records and 0 blobs, up to transaction \d+ at .*\nmake a database of it with: objtree restore /,
  )
  await fails(['backup', 'backups/monday'], /not empty; choose a directory that does not exist yet/)
  await ok(['set', '/f', 'title=now'])
  t.match(
    await ok(['restore', 'backups/monday', '--dry-run']),
    /^would make a database of .*\nthe database that is there would be kept as /,
  )
  t.match(await ok(['show', '/f']), /^title +string +now$/m)
  const { aside } = await json<{ aside: string }>(['restore', 'backups/monday'])
  t.match(await ok(['show', '/f']), /^title +string +then$/m)
  await ok(['restore', aside])
  t.match(await ok(['show', '/f']), /^title +string +now$/m, 'restoring what was kept aside takes it back')
  t.match(await ok(['--db', 'other', 'restore', 'backups/monday']), /^restored .*\/other: /)
  t.match(await ok(['--db', 'other', 'show', '/f']), /^title +string +then$/m)
  t.notOk(existsSync(join(cwd, 'data', 'objects.restored')))
  await fails(['restore', 'nowhere'], /no backup in .*\/nowhere/)
  await fails(['restore', 'data'], /no backup in .*\/data/)
  await fails(['restore', 'data/objects'], /is the database itself/)
  await writeFile(join(cwd, 'backups', 'monday', 'CURRENT'), 'garbage')
  await fails(['restore', 'backups/monday'], /./)
  t.match(await ok(['show', '/f']), /^title +string +now$/m, 'a backup that is none changes nothing')
})

t.test('restore does not exchange a database that is in use', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await ok(['backup', 'copy'])
  const holder = `const { openDatabase } = await import(${JSON.stringify(join(TOP, 'dist', 'objects', 'index.js'))})
    await openDatabase('data/objects'); console.log('open'); setInterval(() => {}, 1000)`
  const child = launchProgram(t, process.execPath, ['--input-type=module', '-e', holder], {
    cwd,
  })
  await waitFor('the holder', () => child.output().includes('open'))
  await fails(['restore', 'copy'], new RegExp(`${child.pid}.*stop that process first`))
  const current = join(cwd, 'data', 'objects', 'CURRENT')
  await rename(current, `${current}.away`)
  await fails(['restore', 'copy'], /has .* open.*stop that process first/)
  t.ok(existsSync(`${current}.away`), 'a damaged one neither')
  child.process.kill('SIGKILL')
  await child.ended
  await ok(['restore', 'copy'])
  t.equal(await ok(['ls']), '', 'but one that is damaged and free is')
})

t.test('a restore that was killed between its two renames is completed by whoever comes next', async t => {
  const { ok, cwd } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=then'])
  await ok(['backup', 'copy'])
  await ok(['set', '/f', 'title=now'])
  const data = join(cwd, 'data', 'objects')
  const killed = async () => {
    await rm(freshPlace(data), { recursive: true, force: true })
    await cp(join(cwd, 'copy'), freshPlace(data), { recursive: true })
    const aside = `${data}.before`
    await rm(aside, { recursive: true, force: true })
    await writeFile(join(freshPlace(data), 'REPLACES'), aside)
    await rename(data, aside)
  }
  for (const next of [['show', '/f'], ['init'], ['restore', 'copy', '--dry-run'], ['--db', data, 'ls']]) {
    await killed()
    await ok(next)
    t.match(await ok(['show', '/f']), /^title +string +then$/m, next.join(' '))
    t.notOk(existsSync(freshPlace(data)))
    await ok(['set', '/f', 'title=now'])
  }
  await cp(join(cwd, 'copy'), freshPlace(data), { recursive: true })
  await writeFile(join(freshPlace(data), 'REPLACES'), join(cwd, 'nowhere'))
  await rename(data, `${data}.moved`)
  await ok(['init'])
  t.equal(await ok(['ls']), '', 'what was left before the first rename counts for nothing')
})

t.test('of a damaged database that was replaced the way to what is left of it is told', async t => {
  const { ok, json, cwd } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=then'])
  await ok(['backup', 'copy'])
  const data = join(cwd, 'data', 'objects')
  await rename(join(data, 'CURRENT'), join(data, 'CURRENT.away'))
  const said = await ok(['restore', 'copy'])
  const line = /^what can be read of it becomes a database with: objtree (--db \S+ salvage) DIRECTORY$/m.exec(said)
  await ok([...line![1]!.split(' '), 'salvaged'])
  t.match(await ok(['--db', 'salvaged', 'show', '/f']), /^title +string +then$/m)
  t.match(await json(['restore', 'copy']), { damaged: false })
})

t.test('restore publishes the mail that the old database has committed', async t => {
  const { ok, cwd, run } = await objtreeUser(t)
  await ok(['add', 'MaildropHost', '/XYZ'])
  await ok(['backup', 'copy'])
  const spool = join(cwd, 'data', 'maildrop', 'spool')
  await mkdir(join(cwd, 'data', 'maildrop'), { recursive: true })
  await writeFile(spool, 'in the way')
  await run(['send', '/XYZ'], 'From: a@example.org\nTo: b@example.org\n\nText\n')
  await rm(spool)
  await ok(['restore', 'copy'])
  t.equal(mailsIn(spool).length, 1)
})

t.test('verify tells that all is well, and which record is not', async t => {
  const { ok, json, run, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'logo'), 'content')
  await ok(['add', 'File', '/logo', 'content=@logo'])
  t.match(await ok(['verify']), /^\d+ objects, \d+ earlier revisions?, 2 transactions: all as they were written\n$/)
  t.match(await json(['verify']), { ok: true, problems: [] })
  const blobs = join(cwd, 'data', 'objects', 'blobs')
  const [file] = (await readdir(blobs, { recursive: true })).filter(name => /^\w\w\/\w+$/.test(name))
  await writeFile(join(blobs, file as string), 'c0ntent')
  const { code, stdout, stderr } = await run(['verify'])
  t.same([code, stderr], [1, ''])
  t.match(stdout, /^blob\t\/logo\t.*\n.*1 problem; restore a backup/)
  const asJson = await run(['verify', '--json'])
  t.equal(asJson.code, 1)
  t.match(JSON.parse(asJson.stdout), { ok: false, problems: [{ kind: 'blob', path: '/logo' }] })
})

t.test('stats counts what there is', async t => {
  const { ok, json, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'logo'), 'x'.repeat(1000))
  await ok(['add', 'File', '/a', 'content=@logo'])
  await ok(['add', 'Folder', '/b'])
  await ok(['set', '/b', 'title=x'])
  const stats = await json<{ classes: { name: string; objects: number }[]; bytes: { files: number } }>(['stats'])
  t.match(stats, { transactions: 4, blobs: 1, bytes: { blobs: 1000 }, packed: null, damaged: 0 })
  t.match(
    stats.classes.find(({ name }) => name === 'File'),
    { objects: 1 },
  )
  t.ok(stats.bytes.files > 1000)
  t.match(await ok(['stats']), /^transactions +4, the last one \d+ at /m)
  await ok(['pack'])
  t.match(await json(['stats']), { revisions: 0, packed: { tid: Number } })
})

t.test('upgrade stores objects of older versions anew', async t => {
  const { cwd, ok } = await objtreeUser(t)
  const classes = (version: number) => `
    import { Persistent, registerClass } from '${PROJECT}objects/index.ts'
    class Thing extends Persistent { ${version === 1 ? 'old' : 'now'} = 1 }
    registerClass('Thing', Thing, { version: ${version}, upgrade: ({ old, ...rest }) => ({ ...rest, now: old }) })`
  await writeFile(join(cwd, 'one.mjs'), classes(1))
  await ok(['--require', 'one.mjs', 'add', 'Thing', '/thing'])
  t.equal(await ok(['--require', 'one.mjs', 'upgrade']), '0 objects of older versions stored anew\n')
  const later = await objtreeUser(t, { init: false })
  await writeFile(join(later.cwd, 'two.mjs'), classes(2))
  const at = ['--db', join(cwd, 'data', 'objects'), '--require', 'two.mjs']
  t.match(await later.ok([...at, 'upgrade']), /^1 object of older versions stored anew\nviews of the past need/)
  t.match(await later.json([...at, 'history', '/thing']), [{ version: 2 }, { version: 1 }])
})

t.test('watch gives each transaction a line, until it is interrupted', async t => {
  const { json, cwd } = await objtreeUser(t)
  const [{ tid: first }] = await json<[{ tid: number }]>(['log'])
  const { tid } = await json<{ tid: number }>(['add', 'Folder', '/f'])
  for (const [args, pattern] of [
    [['--json'], /^\{.*\}\n$/],
    [[], /^\d{4}-\d\d-\d\d [\d:]+Z\t\d+\t\w+\t\/f\tobjtree add Folder \/f --json\n$/],
  ] as const) {
    const child = launchProgram(t, join(TOP, 'bin', 'objtree'), ['watch', '--since', String(first), ...args], {
      cwd,
    })
    await waitFor('a line', () => child.output().includes('\n'))
    child.process.kill('SIGINT')
    const { end, stdout, stderr } = await child.ended
    t.same([end, stderr], [0, ''])
    t.match(stdout, pattern)
    if (args.length > 0) t.match(JSON.parse(stdout), { tid, paths: ['/f'], note: 'objtree add Folder /f --json' })
  }
})

t.test('watch goes on while commands change what it watches, and ends when nobody reads any more', async t => {
  const { ok, cwd } = await objtreeUser(t)
  const options = { cwd }
  const launcher = join(TOP, 'bin', 'objtree')
  const first = launchProgram(t, launcher, ['watch', '--since', '0', '--json'], options)
  await waitFor('the first line', () => first.output().includes('\n'))
  // the first one has the database open, this one is carried out there
  const second = launchProgram(t, 'sh', ['-c', `'${launcher}' watch --since 0 --json; echo ended $?`], options)
  const third = launchProgram(t, 'sh', ['-c', `'${launcher}' watch --since 0 | head -1`], options)
  await waitFor('the first line of each', () => second.output().includes('\n') && third.output().includes('\n'))
  await ok(['add', 'Folder', '/f'])
  await waitFor('the line of the addition', () => [first, second].every(each => each.output().includes('"/f"')))
  t.equal((await third.ended).stdout.split('\n').length, 2, 'the reader has gone, and so does the command')
  first.process.kill('SIGINT')
  t.match(await first.ended, { end: 0, stderr: '' })
  await waitFor('the other one', () => second.output().includes('ended'))
})
