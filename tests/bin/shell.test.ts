/** objtree shell: as a script, and at a terminal. */
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { launch } from '../support/children.ts'
import { directory, program, TOP } from '../support/program.ts'
import { hasProgram, terminal } from '../support/terminal.ts'
import { waitFor } from '../support/waiting.ts'

async function home(t: Test) {
  const cwd = await directory(t)
  const objtree = (args: string[], input = '') => program(cwd, 'bin/objtree', args, {}, input)
  await objtree(['init'])
  return { cwd, objtree, script: (...lines: string[]) => objtree(['shell'], lines.map(line => `${line}\n`).join('')) }
}

t.test('a script is evaluated line by line, await included, and commits what it says', async t => {
  const { objtree, script } = await home(t)
  const { code, stdout, stderr } = await script(
    'app.add("f", new Folder()).title = "one"',
    'await commit("made f")',
    'app.traverse("/f").title = "two"',
    'connection.hasChanges()',
    'await abort()',
    'app.traverse("/f").title',
    '[1, 2].map(',
    '  n => n * 21)',
    'app.traverse("/nowhere")',
    'await db.transact(app => { app.add("g", new Folder()) })',
    'app.has("g")',
    'await abort()',
    'app.has("g")',
  )
  t.same([code, stderr], [0, ''])
  t.match(stdout, /true\n'one'\n\[ 21, 42 \]\n/)
  t.match(stdout, /ObjectError \[NOT_FOUND\]: nothing at '\/nowhere'/)
  t.notMatch(stdout, /\n\s+at /, 'no stack trace')
  t.match(stdout, /false\ntrue\n$/, 'app is one state until the transaction ends')
  t.match((await objtree(['log'])).stdout, /\tmade f\n/)
  t.equal((await objtree(['ls'])).stdout, 'f\tFolder\tone\ng\tFolder\t\n')
})

t.test('changes that nobody committed are not, and are an error', async t => {
  const { objtree, script } = await home(t)
  const { code, stderr } = await script('app.add("f", new Folder())')
  t.equal(code, 1)
  t.match(stderr, /^objtree: the changes were not committed[^\n]*\n$/)
  t.equal((await objtree(['ls'])).stdout, '')
})

t.test('while an application has the database open, the shell works in it as its guest', async t => {
  const { cwd, script, objtree } = await home(t)
  const application = launch(t, 'tests/support/application.ts', [join(cwd, 'data', 'objects')], { cwd })
  await waitFor('the application', () => application.output().includes('open\n'))
  const { code, stdout, stderr } = await script(
    'app.ids()',
    'app.add("f", new Folder()).title = "one"',
    'await commit("made f")',
    'await db.transact(app => { app.traverse("/f").title = "two" })',
    'await abort()',
    'app.traverse("/f").title',
    '(await db.undoLog({ last: 2 })).map(({ note }) => note)',
    'const [{ tid }] = await db.undoLog({ last: 1 })',
    'await db.undo(tid, { note: "no two" })',
    'await abort()',
    'app.traverse("/f").title',
    '(await db.verify()).ok',
    '(await db.pack()).revisions > 0',
    '(await db.stats()).revisions',
    '(await db.backup("copy")).directory',
    'await db.upgrade()',
    'process.pid',
  )
  t.same([code, stderr], [0, ''])
  t.match(stdout, /^\[ 'order' \]\n'one'\n'two'\n\[ '', 'made f' \]\n/)
  t.match(
    stdout,
    /\n'one'\ntrue\ntrue\n0\n'[^\n]*copy'\n0\n\d+\n$/,
    'what goes through the whole database is done there',
  )
  t.not(Number(stdout.trim().split('\n').at(-1)), application.pid, 'the application evaluates nothing')
  t.equal((await objtree(['ls'])).stdout, 'f\tFolder\tone\norder\tOrder\t\n')
  const lost = await script('app.add("g", new Folder())')
  t.match(lost, { code: 1, stderr: /not committed/ })
})

t.test('where the application serves no socket, the shell says who has the database open', async t => {
  const { cwd, script } = await home(t)
  const args = [join(cwd, 'data', 'objects'), '{"socket":false}']
  const application = launch(t, 'tests/support/application.ts', args, { cwd })
  await waitFor('the application', () => application.output().includes('open\n'))
  const { code, stderr } = await script('1 + 1')
  t.equal(code, 1)
  t.match(stderr, new RegExp(`^objtree: [^\n]*process ${application.pid} [^\n]*\n$`))
})

t.test('at a terminal', { skip: !hasProgram('script') && 'no script' }, async t => {
  const { cwd, objtree } = await home(t)
  await objtree(['add', 'Folder', '/shop/inside', '--parents'])
  const shell = terminal(t, `stty cols 200; ${join(TOP, 'bin', 'objtree')} shell`, {
    cwd,
    env: { NO_COLOR: '1', TERM: 'xterm' },
  })
  await shell.shows(/objtree> $/)
  shell.type('app.traverse("/sh\t')
  await shell.shows(/"\/shop\/$/)
  shell.type('ins\t')
  await shell.shows(/inside\/$/)
  shell.type('").tit\t')
  await shell.shows(/"\)\.title$/)
  shell.type(' = "new"\n')
  await shell.shows(/'new'\nobjtree \(changed\)> $/)
  t.match(await objtree(['ls', '/shop']), { code: 0, stdout: 'inside\tFolder\t\n' }, 'others work meanwhile')
  for (const [typed, completed] of [
    ['app.physi', 'app.physicalPath'],
    ['app.traver', 'app.traverse'],
    ['connection.hasCh', 'connection.hasChanges'],
    ['MaildropHo', 'MaildropHost'],
  ] as const) {
    shell.type(`${typed}\t`)
    await shell.shows(new RegExp(`${completed}$`))
    shell.type('\u0015')
  }
  shell.type('.exit\n')
  await shell.shows(/\[c\]ommit, \[d\]iscard, or \[s\]tay\? $/)
  shell.type('s\n')
  await shell.shows(/objtree \(changed\)> $/)
  shell.type('await commit()\n')
  await shell.shows(/objtree> $/)
  shell.type('app.title = "lost"\n')
  await shell.shows(/objtree \(changed\)> $/)
  shell.type('\u0004')
  await shell.shows(/tay\? $/)
  shell.type('d\n')
  t.equal(await shell.ended, 0)
  t.match(await objtree(['show', '/shop/inside']), { stdout: /title +string +new/ })
  t.notMatch((await objtree(['show', '/'])).stdout, /lost/)
})
