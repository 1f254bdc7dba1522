/** The examples that the help of each command shows: they run, in a database that has what they speak of. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import { COMMANDS, type CommandName, loadCommand } from '../../administration/commands/index.ts'
import { LOADER } from '../support/children.ts'
import { objtreeUser } from '../support/objtree.ts'
import { directory } from '../support/program.ts'
import { wordsOf } from '../support/words.ts'

/** Stands in the examples for a transaction. */
const TRANSACTION = '1795740109259000'
/** These need what a test of their own gives them. */
const ELSEWHERE: readonly string[] = ['shell', 'completion', 'watch']

t.test('every example in the help of a command does what it says', async t => {
  const { cwd, ok, json } = await objtreeUser(t)
  await writeFile(join(cwd, 'welcome.hbs'), 'Welcome, <<name>>!\n')
  await writeFile(join(cwd, 'message.txt'), 'From: me@example.org\nTo: ann@example.org\nSubject: Hi\n\nText\n')
  await writeFile(join(cwd, 'classes.js'), '')
  await ok(['add', 'MaildropHost', '/mail/XYZ', '--parents'])
  await ok(['add', 'Template', '/shop/welcome', 'source=@welcome.hbs', '--parents'])
  await ok(['add', 'File', '/shop/logo.png', 'content=@welcome.hbs'])
  await ok(['set', '/shop/welcome', 'title=Hello'])
  await ok(['export', '/shop', '--output', 'shop.objtree'])
  await ok(['backup', 'backup'])
  await ok(['export-dir', '/shop', 'shop'])
  const [{ tid }] = (await json<[{ tid: number }]>(['log', '-n', '1'])) as [{ tid: number }]
  const prepared = await directory(t)
  const data = join(cwd, 'data')
  await cp(data, prepared, { recursive: true })
  const application = await holder(t, cwd)
  for (const name of Object.keys(COMMANDS) as CommandName[]) {
    if (ELSEWHERE.includes(name)) continue
    const { examples, works } = await loadCommand(name)
    t.ok(examples.length > 0, `${name} has an example`)
    for (const [line] of examples) {
      const { words, input } = wordsOf(line.replaceAll(TRANSACTION, String(tid)))
      const text = input === undefined ? '' : await readFile(join(cwd, input))
      const inFreshDatabase = async () => {
        for (const each of MADE) await rm(join(cwd, each), { recursive: true, force: true })
        await cp(prepared, data, { recursive: true })
      }
      await t.test(`objtree ${line}`, async t => {
        await inFreshDatabase()
        const printed = await ok(words, text)
        t.notMatch(printed, /undefined|\[object Object\]|NaN/)
        if (works === 'directory') return
        await inFreshDatabase()
        await application('open')
        t.equal(alike(await ok(words, text)), alike(printed), 'and the same while an application has the database open')
        await application('close')
      })
    }
  }
})

/** What examples make beside the database. */
const MADE = ['data', 'pages', 'backups', 'shop-today.objtree']

/** Without times, ids and sizes. */
const alike = (printed: string): string =>
  printed.replace(/<\S+@|\S*objtree-preview-\S*/g, 'ID').replace(/[\d.,]+/g, 'N')

/** An application in a process of its own. @returns what opens and closes the database there */
async function holder(t: Test, cwd: string): Promise<(order: 'open' | 'close') => Promise<void>> {
  const child = fork(fileURLToPath(new URL('../support/holder.ts', import.meta.url)), {
    cwd,
    execArgv: [LOADER],
    env: { PATH: process.env.PATH, HOME: cwd },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child, 'message')
  return async order => {
    const done = once(child, 'message')
    child.send(order)
    await done
  }
}
