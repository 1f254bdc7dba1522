/** The package as its users get it: packed, installed in an empty directory, and used as the README's tour says. */
import { readdirSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS } from '../../administration/commands/index.ts'
import { CONFIG_KEYS, type ConfigKeyName } from '../../maildrop/index.ts'
import { pack } from '../support/packing.ts'
import { freePort } from '../support/ports.ts'
import { directory, program, TOP } from '../support/program.ts'
import { blocksOf, follow } from '../support/readme.ts'

const TOUR = '## Five minutes from an empty directory'
/** A program that uses each entry of the package, with an error that the types must find. */
const TYPED = `
import { type Database, type Application, ComposeError, Folder, MaildropHost, ObjectError, openDatabase, Persistent, registerClass } from 'maildrophost'
import { BTree, Counter } from 'maildrophost/lib'
import { compileTemplate } from 'maildrophost/templates'
import { loadConfig } from 'maildrophost/maildrop'

class Order extends Persistent {
  items: string[] = []
  lines = new BTree<number>()
  total = new Counter()
}
registerClass('Order', Order, { version: 1 })
const db: Database<Application> = await openDatabase('data/objects')
const id: string = await db.transact(async app => {
  const order = app.traverse('/shop', Folder).add('o', new Order())
  order.items.push('x')
  return app.traverse('/XYZ', MaildropHost).send({ text: 'x' }, { to: ['a@example.org'], from: 'b@example.org' })
})
// @ts-expect-error a subject is a string
await db.transact(app => app.traverse('/XYZ', MaildropHost).send('x', { subject: 1 }))
const failed = (error: unknown): boolean =>
  (error instanceof ComposeError && error.code === 'NO_SENDER') || (error instanceof ObjectError && error.code === 'CONFLICT')
const orders: Order[] = await db.transact(app => app.traverse('/shop', Folder).values(Order))
const prices = new BTree<number>()
const price: number | undefined = prices.get('tea')
// @ts-expect-error it may not be there
const sure: number = prices.get('tea')
console.log(failed(undefined), orders, price, sure)
const page: string = await compileTemplate('<<x>>').render({ x: id })
console.log(page, loadConfig().spools[0])
`

t.test('the package contains what is needed and nothing else', async t => {
  const files = await pack(await directory(t))
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'ARCHITECTURE.md',
    'bin/objtree',
    'docs/coming-from.md',
    'docs/errors.md',
    'docs/how-it-works.md',
    'docs/howto.md',
    'docs/objtree.md',
    'docs/maildrop.md',
    'docs/maildropctl.md',
    'docs/templates.md',
    'docs/tutorial.md',
    'maildrop/SAMPLE_MAIL.txt',
    'maildrop/bin/maildropctl',
    'maildrop/bin/start_maildrop',
    'maildrop/bin/stop_maildrop',
    'maildrop/config',
    'maildrop/maildrop.service',
    'package.json',
    'templates/order-confirmation.hbs',
    'man/maildrop-config.5',
    'man/maildropctl.8',
    'man/objtree.1',
    'man/start_maildrop.8',
    'man/stop_maildrop.8',
    ...Object.keys(COMMANDS).map(name => `man/objtree-${name}.1`),
  ]
  t.same(files.filter(file => !file.startsWith('dist/')).sort(), expected.sort())
  const compiled = files.filter(file => file.startsWith('dist/'))
  const types = ['lib', 'objects', 'templates', 'maildrop'].flatMap(room =>
    readdirSync(join(TOP, room), { recursive: true, encoding: 'utf8' })
      .filter(file => file.endsWith('.ts'))
      .map(file => `dist/${room}/${file.slice(0, -3)}.d.ts`),
  )
  const entries = [
    'dist/bin/objtree.js',
    'dist/lib/index.js',
    'dist/maildrop/commands/maildropctl.js',
    'dist/maildrop/daemon/detached.js',
    'dist/maildrop/index.js',
    'dist/objects/index.js',
    'dist/templates/index.js',
  ]
  t.same(compiled.filter(file => !file.startsWith('dist/chunks/')).sort(), [...types, ...entries].sort())
  t.same(
    compiled.filter(file => file.startsWith('dist/chunks/') && !file.endsWith('.js')),
    [],
  )
})

t.test('the tour of the README works with the packed package, word for word', async t => {
  const home = await directory(t, 'tour-')
  await pack(home)
  const port = await freePort()
  const readme = (await readFile(join(TOP, 'README.md'), 'utf8')).replaceAll('2525', `${port}`)
  const blocks = blocksOf(readme, TOUR)
  const shop = join(home, 'shop')
  t.teardown(() => program(shop, 'npx', ['stop_maildrop']))
  const env = { HOME: process.env.HOME ?? home, NPM_CONFIG_LOGLEVEL: 'error' }
  await follow(t, home, blocks, env)

  await writeFile(join(shop, 'check.ts'), TYPED)
  const tsc = [
    '--noEmit',
    '--strict',
    '--exactOptionalPropertyTypes',
    '--noUncheckedIndexedAccess',
    '--types',
    'node',
    '--typeRoots',
    join(TOP, 'node_modules/@types'),
  ]
  for (const [module = '', resolution = ''] of [
    ['node16', 'node16'],
    ['nodenext', 'nodenext'],
    ['esnext', 'bundler'],
  ]) {
    const { code, stdout, stderr } = await program(shop, process.execPath, [
      join(TOP, 'node_modules/typescript/bin/tsc'),
      ...[...tsc, '--module', module, '--moduleResolution', resolution],
      'check.ts',
    ])
    t.equal(code, 0, `a program is checked against the package's types (${resolution}): ${stdout}${stderr}`)
  }
})

t.test('the README lists the configuration as it is', async t => {
  const readme = await readFile(join(TOP, 'README.md'), 'utf8')
  const rows = new Map(
    Array.from(readme.matchAll(/^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$/gm), ([, key, value, meaning]) => [
      key,
      `${value}|${meaning}`,
    ]),
  )
  t.same([...rows.keys()], Object.keys(CONFIG_KEYS))
  for (const [key, row] of rows) {
    const { default: value, description } = CONFIG_KEYS[key as ConfigKeyName]
    const [meaning, elsewhere = ''] = description.replace(/\.$/, '').split(' Default: ')
    t.equal(
      row!.replaceAll('`', '').replace(/\.$/, ''),
      `${value || elsewhere}|${meaning!.replace(/\.$/, '')}`,
      key ?? '',
    )
  }
})

t.test("the README's systemd unit is the shipped one", async t => {
  const blocks = blocksOf(await readFile(join(TOP, 'README.md'), 'utf8'), '### Under systemd')
  t.equal(blocks[0]?.content, await readFile(join(TOP, 'maildrop', 'maildrop.service'), 'utf8'))
})
