/** Templates in files: partials beside them, never outside their directory, and errors that name the file. */
import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { renderFile } from '../../templates/index.ts'
import { mailTree, parsed } from '../support/mail-page.ts'
import { removeDirectory } from '../support/program.ts'

/** A directory with those files, and a way to render one. */
async function directory(t: Test, files: Record<string, string | Buffer>) {
  const top = await mkdtemp(join(tmpdir(), 'pages-'))
  t.teardown(() => removeDirectory(top))
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(top, name)), { recursive: true })
    await writeFile(join(top, name), text)
  }
  return { top, render: (name: string, data: Record<string, unknown> = {}) => renderFile(join(top, name), data) }
}

t.test('a file renders as HTML, one that ends in .txt.hbs as text', async t => {
  const { render } = await directory(t, { 'page.hbs': '<p><<name>></p>', 'page.txt.hbs': 'Dear <<name>>' })
  t.equal(await render('page.hbs', { name: 'A & B' }), '<p>A &amp; B</p>')
  t.equal(await render('page.txt.hbs', { name: 'A & B' }), 'Dear A & B')
})

t.test('a byte order mark is dropped, and what is not UTF-8 is refused', async t => {
  const { top, render } = await directory(t, { 'bom.hbs': '\ufeffx', 'latin.hbs': Buffer.from([0x78, 0xe9]) })
  t.equal(await render('bom.hbs'), 'x')
  await t.rejects(render('latin.hbs'), {
    code: 'TEMPLATE_UNREADABLE',
    message: `${join(top, 'latin.hbs')}:1:1: the template cannot be read: it is not UTF-8`,
  })
})

t.test('partials are the files beside it and below', async t => {
  const { render } = await directory(t, {
    'page.hbs': '<<> header>>|<<> parts/row name="x">>|<<> (lookup this "which")>>',
    'header.hbs': 'H',
    'parts/row.hbs': 'R<<name>><<> header>>',
    'footer-2.a.hbs': 'F',
  })
  t.equal(await render('page.hbs', { which: 'footer-2.a' }), 'H|RxH|F')
})

t.test('a partial that does not exist is an error at its call', async t => {
  const { top, render } = await directory(t, { 'page.hbs': 'a\n <<> missing>>', 'file.hbs': '<<> page/x>>' })
  await t.rejects(render('page.hbs'), {
    code: 'NO_PARTIAL',
    message: `${join(top, 'page.hbs')}:2:2: there is no partial 'missing'`,
  })
  await t.rejects(render('file.hbs'), { code: 'NO_PARTIAL' })
})

t.test('no name leads out of the directory', async t => {
  const { top, render } = await directory(t, {
    'secret.hbs': 'SECRET',
    'pages/page.hbs': '<<> (lookup this "name")>>',
    'pages/inside.hbs': 'inside',
  })
  await symlink('../secret.hbs', join(top, 'pages/link.hbs'))
  await symlink(join(top, 'secret.hbs'), join(top, 'pages/absolute.hbs'))
  await symlink('..', join(top, 'pages/up'))
  await symlink('inside.hbs', join(top, 'pages/alias.hbs'))
  await symlink('nowhere.hbs', join(top, 'pages/dangling.hbs'))
  t.equal(await render('pages/page.hbs', { name: 'alias' }), 'inside', 'a link that stays inside is followed')
  const names = [
    '../secret',
    './../secret',
    'x/../../secret',
    '..\\secret',
    join(top, 'secret'),
    `/${join(top, 'secret')}`,
    'link',
    'absolute',
    'up/secret',
    'dangling',
    'secret\0',
    '../secret.hbs\0',
    '..',
    '.',
    '',
    '%2e%2e/secret',
    'file:///etc/passwd',
  ]
  for (const name of names)
    await t.rejects(render('pages/page.hbs', { name }), { code: 'NO_PARTIAL' }, JSON.stringify(name))
})

t.test('a directory of pages may itself be reached through a link', async t => {
  const { top, render } = await directory(t, { 'real/page.hbs': '<<> part>>', 'real/part.hbs': 'P' })
  await symlink('real', join(top, 'current'))
  t.equal(await render('current/page.hbs'), 'P')
})

t.test('what is no file cannot be read, and does not hang', async t => {
  const { top, render } = await directory(t, { 'part.hbs': '<<> dir>>', 'pipes.hbs': '<<> pipe>>' })
  await mkdir(join(top, 'dir.hbs'))
  execFileSync('mkfifo', [join(top, 'pipe.hbs')])
  const unreadable = (name: string, what: RegExp) => ({
    code: 'TEMPLATE_UNREADABLE',
    file: join(top, name),
    message: what,
  })
  await t.rejects(
    render('missing.hbs'),
    unreadable('missing.hbs', /:1:1: the template cannot be read: .*no such file/i),
  )
  await t.rejects(render('dir.hbs'), unreadable('dir.hbs', /it is not a file/))
  await t.rejects(render('pipe.hbs'), unreadable('pipe.hbs', /it is not a file/))
  await t.rejects(render('part.hbs'), unreadable('dir.hbs', /it is not a file/))
  await t.rejects(render('pipes.hbs'), unreadable('pipe.hbs', /it is not a file/))
})

t.test('an error names the file that it is in, also in a partial', async t => {
  const { top, render } = await directory(t, {
    'page.hbs': 'a\n  <<#if>>x<</if>>',
    'syntax.hbs': 'a\n  <<#if x>>\n',
    'outer.hbs': '\n<<> inner>>',
    'inner.hbs': 'b\n\n <<#each list>><<user>><</each>>',
    'broken.hbs': '<<> syntax>>',
  })
  const list = [{ user: { name: 'U' } }]
  await t.rejects(render('page.hbs'), { code: 'TEMPLATE_RENDER', file: join(top, 'page.hbs'), line: 2, column: 3 })
  await t.rejects(render('syntax.hbs'), { code: 'TEMPLATE_SYNTAX', file: join(top, 'syntax.hbs'), line: 2, column: 3 })
  await t.rejects(render('broken.hbs'), { code: 'TEMPLATE_SYNTAX', file: join(top, 'syntax.hbs'), line: 2, column: 3 })
  await t.rejects(render('outer.hbs', { list }), {
    code: 'TEMPLATE_RENDER',
    file: join(top, 'inner.hbs'),
    line: 3,
    column: 16,
  })
})

t.test('the page of the demo renders and sends its mail from its place in the tree', async t => {
  const { sent, context } = mailTree()
  const path = fileURLToPath(new URL('../../templates/order-confirmation.hbs', import.meta.url))
  const items = [
    { name: 'Tea pot', quantity: 1, price: '24.50' },
    { name: 'Cups & <saucers>', quantity: 6, price: '9.00' },
  ]
  const data = {
    order: { number: 7, items, total: '78.50' },
    customer: { name: 'Zoë "Z"\r\nBcc: x@y.z', email: 'zoe@example.org' },
  }
  const page = await renderFile(path, data, { context })
  t.match(page, /^<!doctype html>\n[\s\S]*<td>Cups &amp; &lt;saucers&gt;<\/td>[\s\S]*<\/html>\n$/)
  t.notMatch(page, /<<|>>|sendmail/)
  t.equal(sent.length, 1)
  t.equal(sent[0]!.host, 'shop/XYZ')
  t.same(sent[0]!.envelope, { from: 'shop@example.org', to: ['zoe@example.org'] })
  const mail = await parsed(sent[0]!)
  t.equal(mail.subject, 'Your order 7, Zoë "Z" Bcc: x@y.z')
  t.equal(mail.headers.get('x-order'), 'number=7; items=2; total=78.50')
  t.match(mail.text, /\n {2}1 x Tea pot at 24\.50\n {2}6 x Cups & <saucers> at 9\.00\n\nTotal: 78\.50\n/)
  await t.rejects(renderFile(path, data), { code: 'NO_MAIL_HOST', file: path })
})
