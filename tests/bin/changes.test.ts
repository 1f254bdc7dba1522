/** Moving, copying, and going back: mv, cp, log, history, diff and undo. */
import { writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { objtreeUser } from '../support/objtree.ts'

interface Entry {
  readonly tid: number
  readonly user: string
  readonly note: string
  readonly oids: number[]
}
interface Change {
  readonly oid: number
  readonly type: string
  readonly path: string
  readonly change: string
  readonly from?: string
  readonly properties: { name: string; before: { value: unknown } | null; after: { value: unknown } | null }[]
}

t.test('mv renames, moves into folders, and replaces only if it is told to', async t => {
  const { ok, fails, json } = await objtreeUser(t)
  await ok(['add', 'Template', '/a/page', 'title=Page', '--parents'])
  await ok(['add', 'Folder', '/b'])
  t.match(
    await ok(['mv', '/a/page', '/a/other']),
    /^moved \/a\/page to \/a\/other\ntake it back with: objtree undo \d+\n$/,
  )
  t.match(await ok(['mv', '/a/other', '/b']), /^moved \/a\/other to \/b\/other\n/)
  t.equal(await ok(['mv', '/b/other', '/b/other']), 'moved /b/other to /b/other\n', 'nothing to do is no transaction')
  await ok(['add', 'File', '/a/file'])
  await fails(
    ['mv', '/b/other', '/a/file'],
    /there is a File at \/a\/file already; choose another name, or use --force/,
  )
  t.equal(
    await ok(['mv', '/b/other', '/a/file', '--force', '--dry-run']),
    'would move /b/other to /a/file over the File that is there\n',
  )
  t.match(await json(['show', '/a/file']), { type: 'File' }, 'a dry run changes nothing')
  const { tid } = await json<{ tid: number }>(['mv', '/b/other', '/a/file', '--force'])
  t.match(await json(['show', '/a/file']), { type: 'Template', properties: { title: 'Page' } })
  await ok(['undo', String(tid)])
  t.match(await json(['show', '/a/file']), { type: 'File' }, 'what was replaced comes back')
  await fails(['mv', '/a', '/a/deeper'], /^objtree: \/a cannot be moved into itself/)
  await fails(['mv', '/a', '/a'], /^objtree: \/a cannot be moved into itself/)
  await fails(['mv', '/', '/b'], /root of the tree/)
  await fails(['mv', '/b/other', '/nix/x'], /nothing at '\/nix'/)
  await fails(['mv', '/b/other', '/a/file/x'], /not a container|Folder/)
  await fails(['mv', '/b/other', '/b/_x'], /reserved/)
})

t.test('mv --force cannot put an object in the place of the folder that it is in', async t => {
  const { ok, fails } = await objtreeUser(t)
  await ok(['add', 'OrderedFolder', '/x'])
  await ok(['add', 'Folder', '/x/y'])
  await ok(['add', 'Folder', '/z'])
  await ok(['mv', '/x', '/z'])
  await fails(['mv', '/z/x/y', '/nowhere/z'], /nothing at/)
})

t.test('cp copies deeply, under another name or into a folder', async t => {
  const { ok, fails, json, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'bytes'), Buffer.of(1, 2, 255))
  await ok(['add', 'File', '/a/b/file', 'content=@bytes', '--parents'])
  t.match(await ok(['cp', '/a', '/c']), /^copied \/a to \/c\ntake it back with: objtree undo \d+\n$/)
  t.match(await ok(['cp', '/a/b/file', '/a/b']), /^copied \/a\/b\/file to \/a\/b\/copy_of_file\n/)
  t.match(await json(['show', '/c/b/file']), { size: 3 })
  await fails(['cp', '/a/b/file', '/a/b/copy_of_file'], /already; choose another name/)
  t.match(await ok(['cp', '/a', '/a/b']), /^copied \/a to \/a\/b\/a\n/, 'even into itself')
  t.equal((await json<unknown[]>(['ls', '/a/b/a/b'])).length, 2, 'of what there was before')
})

t.test('every change is a transaction with the user and the command line, and log finds it', async t => {
  const { ok, json, fails } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f', 'title=It\'s "mine"'])
  await ok(['set', '/f', 'title=Two words'])
  await ok(['set', '/f', 'title=Two words'])
  await ok(['ls', '/'])
  const log = await json<Entry[]>(['log'])
  t.same(
    log.map(({ note }) => note),
    [`objtree set /f 'title=Two words'`, `objtree add Folder /f 'title=It'\\''s "mine"'`, 'created'],
    'looking, and setting what is set, are none',
  )
  t.equal(log[0]?.user, userInfo().username)
  t.equal((await json<Entry[]>(['log', '-n', '1'])).length, 1)
  t.same(await json(['log', '--note', 'objtree add']), [log[1]])
  t.same(await json(['log', '--user', 'nobody-else']), [])
  t.same(await json(['log', '--since', String(log[1]?.tid)]), [log[0]])
  t.same(await json(['log', '--until', String(log[1]?.tid), '--since', '2020-01-01']), log.slice(1))
  t.same(await json(['log', '/f']), log.slice(0, 2))
  t.match(await ok(['log']), new RegExp(`^${log[0]?.tid}\t\\d{4}-\\d\\d-\\d\\d [\\d:]+Z\t\\w+\t1\tobjtree set`))
  await fails(['log', '-n', '0'], /whole number from 1/, 2)
  await fails(['log', '-n', 'many'], /--number must be a number/, 2)
  await fails(['log', '--since', 'yesterday'], /--since: expected a transaction's id/, 2)
  const history = await json<{ tid: number; type: string }[]>(['history', '/f'])
  t.same(
    history.map(({ tid, type }) => [tid, type]),
    log.slice(0, 2).map(({ tid }) => [tid, 'Folder']),
  )
  t.equal((await ok(['history', '/f'])).split('\n').length, 3)
  await fails(['history', 'oid:999'], /no object oid:999/)
})

t.test('diff shows what a transaction changed, property by property', async t => {
  const { ok, json, fails, cwd } = await objtreeUser(t)
  const changed = async (args: string[]) => {
    await ok(args)
    const [{ tid }] = await json<[Entry]>(['log', '-n', '1'])
    return { tid: String(tid), changes: await json<Change[]>(['diff', String(tid)]) }
  }
  const added = await changed(['add', 'Template', '/shop/page', 'title=A', 'source=one', '--parents'])
  t.same(
    added.changes.map(({ change, type, path }) => [change, type, path]),
    [
      ['added', 'Folder', '/shop'],
      ['added', 'Template', '/shop/page'],
    ],
    'and nothing of what folders are inside',
  )
  const set = await changed(['set', '/shop/page', 'title=B'])
  t.match(set.changes, [
    {
      change: 'changed',
      properties: [{ name: 'title', before: { type: 'string', value: 'A' }, after: { value: 'B' } }],
    },
  ])
  t.equal(set.changes[0]?.properties.length, 1)
  t.equal(await ok(['diff', set.tid]), '~ Template /shop/page changed\n    title: A → B\n')
  await writeFile(join(cwd, 'page.hbs'), 'one\nthree\nfour\n')
  await ok(['set', '/shop/page', 'source=@page.hbs'])
  await writeFile(join(cwd, 'page.hbs'), 'one\ntwo\nfour\n')
  const lines = await changed(['set', '/shop/page', 'source=@page.hbs'])
  t.equal(await ok(['diff', lines.tid]), '~ Template /shop/page changed\n    source:\n      - three\n      + two\n')
  const moved = await changed(['mv', '/shop/page', '/'])
  t.match(moved.changes, [{ change: 'moved', path: '/page', from: '/shop/page', properties: [] }])
  const removed = await changed(['rm', '/page'])
  t.match(removed.changes, [{ change: 'removed', type: 'Template', path: '/page' }])
  t.ok((await json<Change[]>(['diff', removed.tid, '--all'])).length > 1, '--all shows what folders are inside')

  t.match(await json(['diff', added.tid, moved.tid]), [
    { type: 'Template', change: 'moved', properties: [{ name: 'title' }, { name: 'source' }] },
  ])
  t.match(await json(['diff', added.tid, 'now']), [{ type: 'Template', change: 'removed' }])
  t.same(await json(['diff', removed.tid, 'now']), [])
  t.equal(await ok(['diff', removed.tid, 'now']), 'nothing that can be seen has changed\n')
  t.same(await json(['diff', added.tid, 'now', '--object', '/shop']), [])
  await fails(['diff', '12345'], /no transaction 12345; 'objtree log' lists them/)
  await fails(['diff', 'now'], /expected the id of a transaction/, 2)
  await fails(['diff', moved.tid, added.tid], /the first moment has to be the earlier one/, 2)
  await fails(['show', '/', '--at', '2020-01-01'], /nothing in the database yet at 2020-01-01/)
  await fails(['tree', '--depth', '-1'], /--depth: expected a number from 0/, 2)
  await fails(['diff', 'x'], /expected the id of a transaction/, 2)
  t.match(await json(['show', '/shop/page', '--at', set.tid]), { properties: { title: 'B', source: 'one' } })
  t.match(await json(['ls', '/', '--at', moved.tid]), [{ name: 'page' }, { name: 'shop' }])
})

t.test('undo takes transactions back, tells when it cannot, and can be undone', async t => {
  const { ok, json, fails } = await objtreeUser(t)
  const titleNow = async () => (await json<{ properties: { title: string } }>(['show', '/f'])).properties.title
  await ok(['add', 'Folder', '/f', 'title=1'])
  const { tid: second } = await json<{ tid: number }>(['set', '/f', 'title=2'])
  t.match(
    await ok(['undo', String(second), '--dry-run']),
    /^would undo 1 transaction:\n\d+\t.*objtree set \/f title=2 --json\n$/,
  )
  t.equal(await titleNow(), '2')
  const { tid: undoing } = await json<{ tid: number }>(['undo', String(second)])
  t.equal(await titleNow(), '1')
  t.match(await json(['log', '-n', '1']), [{ tid: undoing, note: `objtree undo ${second} --json` }])
  t.match(
    await ok(['undo', String(undoing)]),
    /^undone: \d+\. Mail that was sent is not called back\ntake it back with/,
  )
  t.equal(await titleNow(), '2')
  const { tid: third } = await json<{ tid: number }>(['set', '/f', 'title=3'])
  await ok(['set', '/f', 'title=4'])
  await fails(['undo', String(third)], /cannot be undone.*was changed since.*nothing was undone/)
  await fails(['undo', String(third), '--dry-run'], /cannot be undone.*was changed since/)
  await fails(['undo', '77'], /no transaction 77/)
  await fails(['undo', 'last'], /expected the id of a transaction/, 2)
  t.equal(await titleNow(), '4')
})
