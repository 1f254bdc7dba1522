/** export-dir and import-dir: a subtree as files, edited, and back. */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { objtreeUser } from '../support/objtree.ts'

interface Imported {
  readonly added: string[]
  readonly changed: string[]
  readonly removed: string[]
  readonly unchanged: number
  readonly tid: number | null
}

/** A shop with a page, an image, a folder in it and a mail host; and its directory `pages`. */
async function shop(t: Test) {
  const user = await objtreeUser(t)
  const { ok, cwd } = user
  await writeFile(join(cwd, 'logo'), Buffer.of(0x89, 0, 255))
  await ok([
    'add',
    'Template',
    '/shop/welcome',
    'source=Hello <<name>>',
    'title=Welcome',
    'contentType=text/plain',
    '-p',
  ])
  await ok(['add', 'File', '/shop/logo.png', 'content=@logo', 'mediaType=image/png'])
  await ok(['add', 'OrderedFolder', '/shop/inner', 'title=Inner'])
  await ok(['add', 'MaildropHost', '/shop/inner/XYZ', 'title=Out'])
  await ok(['export-dir', '/shop', 'pages'])
  const file = (name: string) => join(cwd, 'pages', name)
  return { ...user, file, bring: (...more: string[]) => user.json<Imported>(['import-dir', 'pages', '/shop', ...more]) }
}

t.test('what authors edit is a file, and comes back as the change of that object', async t => {
  const { ok, json, cwd, file, bring } = await shop(t)
  t.same((await readdir(join(cwd, 'pages'), { recursive: true })).sort(), [
    '.objtree.json',
    'inner',
    'inner/.objtree.json',
    'logo.png',
    'welcome.hbs',
  ])
  t.equal(await readFile(file('welcome.hbs'), 'utf8'), 'Hello <<name>>')
  t.same(await bring(), { ...(await bring()), added: [], changed: [], removed: [], unchanged: 5, tid: null })
  const { oid } = await json<{ oid: number }>(['show', '/shop/welcome'])
  await writeFile(file('welcome.hbs'), 'Good day <<name>>')
  t.match(await bring('--dry-run'), { changed: ['/shop/welcome'], tid: null })
  t.match(await ok(['show', '/shop/welcome']), /Hello/, 'a dry run changes nothing')
  t.match(
    await ok(['import-dir', 'pages', '/shop']),
    /^~ \/shop\/welcome\n\/shop: 0 objects added, 1 changed, 0 removed, 4 as before\ntake it back with: objtree undo \d+\n$/,
  )
  t.match(await json(['show', '/shop/welcome']), {
    oid,
    properties: { source: 'Good day <<name>>', title: 'Welcome', contentType: 'text/plain' },
  })
  t.equal((await json<unknown[]>(['history', '/shop/welcome'])).length, 2, 'with its history')
})

t.test('new files are new objects; with --delete, missing ones are removed', async t => {
  const { ok, json, file, bring } = await shop(t)
  await mkdir(file('letters'))
  await writeFile(file('letters/bye.hbs'), 'Bye')
  await writeFile(file('letters/terms.pdf'), 'PDF')
  await mkdir(file('.git'))
  await writeFile(file('.git/config'), 'not for the tree')
  await rm(file('logo.png'))
  t.match(await bring(), { added: ['/shop/letters', '/shop/letters/bye', '/shop/letters/terms.pdf'], removed: [] })
  t.match(await json(['show', '/shop/letters/terms.pdf']), {
    type: 'File',
    properties: { mediaType: 'application/pdf' },
  })
  t.match(await json(['show', '/shop/letters/bye']), { type: 'Template', properties: { contentType: 'text/html' } })
  t.match(await bring('--delete'), { added: [], changed: [], removed: ['/shop/logo.png'] })
  await ok(['export-dir', '/shop', 'pages'])
  t.ok(existsSync(file('.git/config')), 'what is not of the tree stays')
})

t.test('a file that was edited is not overwritten, and one that export-dir did not make neither', async t => {
  const { ok, json, fails, file, cwd } = await shop(t)
  await writeFile(file('welcome.hbs'), 'edited')
  t.match(await json(['export-dir', '/shop', 'pages', '--force']), { written: 1 })
  await writeFile(file('welcome.hbs'), 'edited')
  await ok(['set', '/shop/welcome', 'source=changed'])
  await fails(['export-dir', '/shop', 'pages'], /welcome\.hbs was edited since it was written; import it first/)
  t.equal(await readFile(file('welcome.hbs'), 'utf8'), 'edited')
  await ok(['export-dir', '/shop', 'pages', '--force'])
  t.equal(await readFile(file('welcome.hbs'), 'utf8'), 'changed')
  await ok(['rm', '/shop/logo.png'])
  await ok(['rm', '-r', '/shop/inner'])
  t.match(await json<{ removed: string[] }>(['export-dir', '/shop', 'pages']), {
    removed: [file('inner'), file('logo.png')],
  })
  t.same((await readdir(join(cwd, 'pages'))).sort(), ['.objtree.json', 'welcome.hbs'])
  await mkdir(join(cwd, 'mine'))
  await writeFile(join(cwd, 'mine', 'precious'), 'x')
  await fails(['export-dir', '/shop', 'mine'], /not empty, and was not made by export-dir/)
  await fails(['export-dir', '/shop/welcome', 'x'], /expected a folder/)
  await fails(['import-dir', 'mine', '/shop/welcome'], /expected a folder, or nothing/)
  t.same(await readdir(join(cwd, 'mine')), ['precious'])
  t.notOk((await readdir(join(cwd, 'pages'))).some(name => name.endsWith('.partial')))
  // as one that was killed in the middle leaves it
  const sidecar = JSON.parse(await readFile(file('.objtree.json'), 'utf8'))
  await writeFile(file('.objtree.json'), JSON.stringify({ ...sidecar, entries: {}, incomplete: true }))
  await writeFile(file('.0123456789ab.partial'), 'half a pa')
  await fails(['import-dir', 'pages', '/shop', '--delete', '--yes'], /is incomplete: .* run it again/)
  await ok(['export-dir', '/shop', 'pages'])
  t.same((await readdir(join(cwd, 'pages'))).sort(), ['.objtree.json', 'welcome.hbs'])
  t.same(JSON.parse(await readFile(file('.objtree.json'), 'utf8')), sidecar)
})

t.test('nothing outside of the directory is read or written; links are refused', async t => {
  const { ok, fails, file, cwd } = await shop(t)
  await writeFile(join(cwd, 'secret'), 'secret')
  await symlink(join(cwd, 'secret'), file('link.hbs'))
  await fails(['import-dir', 'pages', '/shop'], /link\.hbs is a symbolic link, which is not followed/)
  await rm(file('link.hbs'))
  await rm(file('welcome.hbs'))
  await symlink(join(cwd, 'secret'), file('welcome.hbs'))
  await ok(['set', '/shop/welcome', 'source=new'])
  await fails(['export-dir', '/shop', 'pages', '--force'], /welcome\.hbs cannot be read: it is a symbolic link/)
  t.equal(await readFile(join(cwd, 'secret'), 'utf8'), 'secret')
  await rm(file('welcome.hbs'))
  await rm(file('inner'), { recursive: true })
  await mkdir(join(cwd, 'elsewhere'))
  await symlink(join(cwd, 'elsewhere'), file('inner'))
  await fails(['export-dir', '/shop', 'pages'], /inner is in the way: it is no directory/)
  t.same(await readdir(join(cwd, 'elsewhere')), [])
  await rm(file('inner'))
  await rm(file('.objtree.json'))
  await symlink(join(cwd, 'secret'), file('.objtree.json'))
  await fails(['import-dir', 'pages', '/shop'], /\.objtree\.json cannot be read: it is a symbolic link/)
})

t.test('what is wrong in a directory is named, and nothing is imported', async t => {
  const { json, fails, file, bring } = await shop(t)
  const before = await json(['log', '-n', '1'])
  await writeFile(file('logo.png'), 'other')
  await writeFile(file('broken.hbs'), 'x\n<<#if a>>')
  await fails(['import-dir', 'pages', '/shop'], /broken\.hbs.*2:/)
  await writeFile(file('broken.hbs'), Buffer.of(0xff))
  await fails(['import-dir', 'pages', '/shop'], /broken\.hbs: it is not UTF-8 text/)
  await rm(file('broken.hbs'))
  await writeFile(file('_hidden'), '')
  await fails(['import-dir', 'pages', '/shop'], /_hidden: .*reserved/)
  await rm(file('_hidden'))
  await writeFile(file('bad.object'), 'no export')
  await fails(['import-dir', 'pages', '/shop'], /bad\.object: the export cannot be read/)
  await rm(file('bad.object'))
  const sidecar = await readFile(file('.objtree.json'), 'utf8')
  for (const [text, message] of [
    ['{', /\.objtree\.json is not JSON/],
    ['{}', /\.objtree\.json: format/],
    [sidecar.replace('"title": "Welcome"', '"__parent__": 1'), /attribute cannot be called/],
    [sidecar.replace('"title": "Welcome"', '"_p_oid": 1'), /attribute cannot be called/],
    [sidecar.replace('"title": "Welcome"', '"title": { "$": "code" }'), /no value is written as/],
    [sidecar.replace('"type": "Folder"', '"type": "Template"'), /is a Folder, but a Template/],
    [sidecar.replace('"name": "welcome"', '"name": "logo.png"'), /there is another 'logo\.png'/],
    [sidecar.replace('"name": "welcome"', '"name": "../x"'), /cannot be the name/],
  ] as const) {
    await writeFile(file('.objtree.json'), text)
    await fails(['import-dir', 'pages', '/shop'], message)
  }
  t.same(await json(['log', '-n', '1']), before)
  await writeFile(file('.objtree.json'), sidecar)
  t.match(await bring(), { changed: ['/shop/logo.png'] })
})
