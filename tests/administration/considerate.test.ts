/** Long commands in an application's process: it goes on with its own work, and they end when nobody wants them any more. */
import t from 'tap'
import type { Context, Progress, TreeCommand } from '../../administration/command.ts'
import { type CommandName, loadCommand } from '../../administration/commands/index.ts'
import { Folder, openDatabase } from '../../objects/index.ts'
import { newLevel } from '../support/database.ts'

const MANY = 3000

const db = await openDatabase(newLevel())
t.teardown(() => db.close())
await db.transact(app => {
  const shop = app.create('/shop', new Folder())
  for (let i = 0; i < MANY; i++) shop.add(`page${i}`, new Folder())
})
const newest = async () => (await db.undoLog({ last: 1 }))[0]!.tid
const filling = await newest()

async function carryOut(name: CommandName, args: object, more: Partial<Context> = {}): Promise<unknown> {
  const context: Context = {
    db,
    directory: '/nowhere',
    user: 'ann',
    note: name,
    signal: AbortSignal.any([]),
    watched: false,
    progress: () => undefined,
    emit: async () => undefined,
    ...more,
  }
  return await ((await loadCommand(name)) as TreeCommand).run(context, args)
}

t.test('others get their turns while a large tree is gone through', async t => {
  for (const [name, args] of [
    ['tree', { path: '/' }],
    ['ls', { path: '/shop' }],
    ['diff', { from: String(filling), all: false }],
    ['export', { path: '/shop', output: null, force: false }],
  ] as const) {
    let turns = 0
    let ended = false
    const turn = () => {
      turns += 1
      if (!ended) setImmediate(turn)
    }
    // the first one has come before the work begins
    await new Promise<void>(resolve => setImmediate(resolve))
    setImmediate(turn)
    await carryOut(name, args)
    ended = true
    t.ok(turns > 1, `${name}: ${turns} turns`)
  }
})

t.test('who has gone is served no longer, and nothing is changed', async t => {
  const before = await newest()
  for (const [name, args] of [
    ['tree', { path: '/' }],
    ['ls', { path: '/shop' }],
    ['log', { number: 20 }],
    ['diff', { from: String(filling), all: false }],
    ['export', { path: '/shop', output: null, force: false }],
    ['add', { type: 'Folder', path: '/other', assignments: [], parents: false }],
    ['undo', { tids: [filling] }],
    ['upgrade', {}],
    ['verify', {}],
    ['stats', {}],
  ] as const) {
    const gone = new AbortController()
    const carried = carryOut(name, args, { signal: gone.signal })
    gone.abort(new Error('gone'))
    await t.rejects(carried, { message: 'gone' }, name)
  }
  t.equal(await newest(), before)
})

t.test('what is exported is told as it goes, with about what there will be', async t => {
  const states: Progress[] = []
  let bytes = 0
  await carryOut(
    'export',
    { path: '/shop', output: null, force: false },
    {
      watched: true,
      progress: state => void states.push(state),
      emit: async part => void (bytes += (part as Uint8Array).length),
    },
  )
  t.ok(states.length > 1)
  t.ok(states.every(({ done, total = 0 }) => done <= total))
  const { done, total } = states.at(-1)!
  t.equal(done, total)
  t.ok(bytes - done < 100, 'but for head and trailer')
  t.ok(Math.abs(states[0]!.total! - bytes) < bytes / 4, 'and was known beforehand, about')
})

t.test('a pack that nobody wants any more ends; the next one does the rest', async t => {
  const { objects } = await db.countRecords()
  await db.transact(app => app.delete('shop'))
  const gone = new AbortController()
  const packing = carryOut('pack', { gc: true }, { signal: gone.signal })
  gone.abort(new Error('gone'))
  await t.rejects(packing, { message: 'gone' })
  t.ok((await db.countRecords()).objects >= objects)
  t.match(await db.verify(), { ok: true })
  t.ok(((await carryOut('pack', { gc: true })) as { objects: number }).objects > MANY)
  t.match(await db.verify(), { ok: true })
})
