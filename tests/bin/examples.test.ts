/** The examples that the help of each command shows: they run, in a database that has what they speak of. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS, type CommandName, loadCommand } from '../../administration/commands/index.ts'
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
  for (const name of Object.keys(COMMANDS) as CommandName[]) {
    if (ELSEWHERE.includes(name)) continue
    const { examples } = await loadCommand(name)
    t.ok(examples.length > 0, `${name} has an example`)
    for (const [line] of examples) {
      for (const each of [data, join(cwd, 'pages')]) await rm(each, { recursive: true, force: true })
      await cp(prepared, data, { recursive: true })
      const { words, input } = wordsOf(line.replaceAll(TRANSACTION, String(tid)))
      const text = input === undefined ? '' : await readFile(join(cwd, input))
      await t.test(`objtree ${line}`, async t => {
        const printed = await ok(words, text)
        t.notMatch(printed, /undefined|\[object Object\]|NaN/)
      })
    }
  }
})
