/** An application's own classes: known with --require or a configuration, shown honestly without, and never harmed. */
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { PROJECT } from '../support/children.ts'
import { objtreeUser } from '../support/objtree.ts'

/** A module that registers a class with one property of each type. */
const CLASSES = `
import { Persistent, registerClass } from '${PROJECT}objects/index.ts'
export class Order extends Persistent {
  static properties = {
    customer: { type: 'string', description: 'who ordered' },
    total: { type: 'number', description: 'in euros' },
    count: { type: 'integer', description: 'how many things' },
    paid: { type: 'boolean', description: 'whether it is paid' },
    due: { type: 'date', description: 'when it is to be paid' },
    tags: { type: 'strings', description: 'what it is about' },
    state: { type: 'choice', choices: ['new', 'sent'], description: 'how far it is' },
  }
  customer = ''; total = 0; count = 0; paid = false; due = null; tags = []; state = 'new'
  extra = new Map([['a', 1n]]); when = new Date(0); bytes = new Uint8Array([1, 2]); nested = { deep: [new Set([1])] }
}
class Difficult extends Persistent { constructor(name) { super(); this.name = name.trim() } }
registerClass('Order', Order)
registerClass('Difficult', Difficult)
`
const SET = ['customer=Ann', 'total=1.5', 'count=3', 'paid=true', 'due=2026-03-31', 'tags=a, b', 'state=sent']

t.test('with --require, objects of own classes are made, shown and set by their declared types', async t => {
  const { ok, json, fails, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'classes.mjs'), CLASSES)
  const own = ['--require', 'classes.mjs']
  await ok([...own, 'add', 'Order', '/order', ...SET])
  const shown = await json<{ properties: object; types: object }>(['show', '/order', ...own])
  t.match(shown, {
    type: 'Order',
    broken: false,
    properties: {
      customer: 'Ann',
      total: 1.5,
      count: 3,
      paid: true,
      due: '2026-03-31T00:00:00.000Z',
      tags: ['a', 'b'],
      state: 'sent',
      extra: [['a', '1n']],
      when: '1970-01-01T00:00:00.000Z',
      bytes: 'AQI=',
      nested: { deep: [[1]] },
    },
    types: {
      total: 'number',
      due: 'date',
      tags: 'strings',
      extra: 'map',
      when: 'date',
      bytes: 'bytes',
      nested: 'record',
    },
  })
  await fails([...own, 'set', '/order', 'total=much'], /'total' must be a number/)
  await fails([...own, 'set', '/order', 'count=1.5'], /'count' must be a whole number/)
  await fails([...own, 'set', '/order', 'state=lost'], /'state' must be new or sent/)
  await fails([...own, 'set', '/order', 'due=2026-02-30'], /'due' must be a date/)
  await fails([...own, 'set', '/order', 'extra=1'], /no property 'extra' that can be set; it has: customer, total/)
  await fails([...own, 'add', 'Difficult', '/x'], /Difficult cannot be made without arguments.*make it in a program/)
  const types = await json<{ type: string; own: boolean; properties: { name: string }[] }[]>(['types', ...own])
  t.same(
    types.map(({ type }) => type),
    ['Folder', 'OrderedFolder', 'Template', 'File', 'MaildropHost', 'Difficult', 'Order'],
  )
  t.match(types.at(-1), { own: true, properties: [{ name: 'customer' }, { name: 'total', type: 'number' }] })
  t.match(await ok(['types', ...own]), /^Order\tstate\tnew or sent\thow far it is$/m)
})

t.test('the configuration of the working directory does the same, and names the database', async t => {
  for (const [file, content] of [
    ['objtree.config.js', `export default { require: ['./classes.mjs'], db: 'elsewhere' }`],
    ['package.json', JSON.stringify({ type: 'module', objtree: { require: './classes.mjs', db: 'elsewhere' } })],
  ] as const) {
    const { ok, cwd } = await objtreeUser(t, { init: false })
    await writeFile(join(cwd, 'classes.mjs'), CLASSES)
    if (file !== 'package.json') await writeFile(join(cwd, 'package.json'), '{"type":"module"}')
    await writeFile(join(cwd, file), content)
    t.match(await ok(['init']), join(cwd, 'elsewhere'))
    await ok(['add', 'Order', '/order', 'total=2'])
    t.match(await ok(['ls']), /^order\tOrder\t$/m)
    t.match(await ok(['--db', 'other', 'init']), join(cwd, 'other'), '--db wins')
  }
})

t.test('a configuration that is wrong, or that others may write, is refused', async t => {
  const { ok, fails, cwd } = await objtreeUser(t)
  await fails(['ls', '--require', 'missing.js'], /missing\.js cannot be loaded: Cannot find module/)
  await writeFile(join(cwd, 'broken.mjs'), 'throw new Error("no luck")')
  await fails(['ls', '--require', 'broken.mjs'], /broken\.mjs cannot be loaded: no luck/)
  const config = join(cwd, 'objtree.config.mjs')
  await writeFile(config, 'export default { requires: [] }')
  await fails(['ls'], /objtree\.config\.mjs: .*requires/)
  await writeFile(config, 'throw new Error("this ran")')
  await chmod(config, 0o666)
  await fails(['ls'], /objtree\.config\.mjs is not used: .*others may write it/)
  await writeFile(join(cwd, 'good.mjs'), '')
  t.equal(await ok(['ls', '--require', 'good.mjs']), '', 'with --require it is not needed')
})

t.test('without its class an object is shown as it is, and nothing changes it', async t => {
  const { ok, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'classes.mjs'), CLASSES)
  await ok(['--require', 'classes.mjs', 'add', 'Order', '/order', ...SET])
  // another process, which does not know the class
  const other = await objtreeUser(t, { init: false })
  const at = ['--db', join(cwd, 'data', 'objects')]
  const before = await other.json<{ properties: object; tid: number }>([...at, 'show', '/order'])
  t.match(before, { type: 'Order', broken: true, properties: { customer: 'Ann', total: 1.5, state: 'sent' } })
  t.match(await other.ok([...at, 'show', '/order']), /the class 'Order' is not known here; see --require/)
  t.match(await other.ok([...at, 'ls']), /^order\tOrder\t$/m)
  await other.fails([...at, 'set', '/order', 'total=3'], /Broken|not registered|no property/)
  await other.fails([...at, 'mv', '/order', '/other'], /not registered/)
  await other.fails([...at, 'cp', '/order', '/other'], /not registered/)
  t.same(await other.json([...at, 'show', '/order']), before)
  await other.ok([...at, 'export-dir', '/', 'files'])
  await other.ok([...at, 'import-dir', 'files', '/copy'])
  t.match(await other.json([...at, 'show', '/copy/order']), { type: 'Order', properties: before.properties })
  t.match(await ok(['--require', 'classes.mjs', 'show', '/order']), /^total +number +1.5$/m)
})
