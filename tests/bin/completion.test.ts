/** Completion of command lines, by the shells themselves. */
import { existsSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { escaped, lastWord } from '../../bin/words.ts'
import { launch } from '../support/children.ts'
import { needs, programProblem } from '../support/peers.ts'
import { directory, program, TOP } from '../support/program.ts'
import { terminal } from '../support/terminal.ts'
import { waitFor } from '../support/waiting.ts'

const PATH = `${join(TOP, 'bin')}:${process.env.PATH}`

/** A directory with a tree: /shop/page (Template), /shop/in (Folder), `/shop/a b`, and a name that a shell would run. */
async function shop(t: Test) {
  const cwd = await directory(t)
  const objtree = (...args: string[]) => program(cwd, 'bin/objtree', args)
  await objtree('init')
  await objtree('add', 'Template', '/shop/page', 'source=x', '--parents')
  await objtree('add', 'Folder', '/shop/in')
  await objtree('add', 'Folder', '/shop/a b')
  await objtree('add', 'Folder', '/shop/b$(touch run)')
  await writeFile(join(cwd, 'welcome.hbs'), 'x')
  /** What follows on a command line: the first column of the answer. */
  const following = async (...words: string[]) => {
    const { code, stdout, stderr } = await objtree('--complete', ...words)
    t.same([code, stderr], [0, ''])
    return stdout
      .trimEnd()
      .split('\n')
      .map(line => line.split('\t')[0])
  }
  return { cwd, objtree, following }
}

t.test('commands, options, paths, types, properties, transactions and files are found', async t => {
  const { following } = await shop(t)
  t.same(await following('l'), [':words', 'ls', 'log'])
  t.same(await following('ls', '--lo'), [':words', '--long'])
  t.same(await following('ls', '--long', '--lo'), [':words'], 'not twice')
  t.same(await following('ls', '/sh'), [':words', '/shop/'])
  t.same((await following('show', '/shop/')).sort(), [
    '/shop/a b/',
    '/shop/b$(touch run)/',
    '/shop/in/',
    '/shop/page',
    ':words',
  ])
  t.same(await following('ls', '--long', '/shop/p'), [':words', '/shop/page'])
  t.same(await following('add', 'Templ'), [':words', 'Template'])
  t.same(await following('add', 'Template', '/x', 'so'), [':words', 'source='])
  t.same(await following('add', 'Template', '/x', 'source=@'), [':file'])
  t.same(await following('set', '/shop', 'ti'), [':words', 'title='])
  t.match(await following('undo', ''), [':words', /^\d{16}$/])
  t.same(await following('--db', ''), [':directory'])
  t.same(await following('completion', ''), [':words', 'bash', 'zsh', 'fish'])
  t.same(await following('ls', '/nowhere/'), [':words'])
  t.same(await following('--db', 'nowhere', 'ls', '/'), [':words'], 'nothing fails, and nothing is made')
  t.same(await following('frobnicate', ''), [':words'])
  t.same(await following(), (await following('')).slice())
})

t.test('paths are completed while an application has the database open', async t => {
  const { cwd, following } = await shop(t)
  const application = launch(t, 'tests/support/application.ts', [join(cwd, 'data', 'objects')], { cwd })
  await waitFor('the application', () => application.output().includes('open\n'))
  t.same(await following('ls', '/o'), [':words', '/order'])
})

t.test('a line is cut into words as shells do it', async t => {
  for (const [line, words, raw, quote] of [
    ['', [''], '', ''],
    ['a', ['a'], 'a', ''],
    ['a  b ', ['a', 'b', ''], '', ''],
    ['a "b c', ['a', 'b c'], '"b c', '"'],
    ["a 'b\\' c\\ d", ['a', 'b\\', 'c d'], 'c\\ d', ''],
    ['a x="y z"', ['a', 'x=y z'], 'x="y z"', ''],
    ['a \\', ['a', ''], '\\', ''],
  ] as const)
    t.same(lastWord(line), { words, raw, quote }, line)
  t.equal(escaped("/a b'c$(d)"), "/a\\ b\\'c\\$\\(d\\)")
  t.equal(escaped('/a b"c$(d)`e`\\', '"'), '/a b\\"c\\$(d)\\`e\\`\\\\')
  t.equal(escaped('/a!b', '"'), undefined)
  t.equal(escaped('/a b"c$(d)`e`!', "'"), '/a b"c$(d)`e`!')
  t.equal(escaped("/a'$(d)", "'"), undefined)
})

t.test('bash completes', needs(programProblem('script')), async t => {
  const { cwd } = await shop(t)
  const bash = terminal(t, 'bash --norc --noprofile -i', { cwd, env: { PATH } })
  bash.type('stty cols 200; source <(objtree completion bash); PS1=READY; echo is-"ready"\n')
  await bash.shows(/is-ready\n/)
  bash.type('objtree ls /sh\t')
  await bash.shows(/objtree ls \/shop\/$/)
  bash.type('i\t\n')
  await bash.shows(/in\/\n/)
  bash.type('objtree set /shop ti\t')
  await bash.shows(/set \/shop title=$/)
  bash.type('x; objtree ls /shop/a\t')
  await bash.shows(/\/shop\/a\\ b\/$/)
  bash.type('; objtree ls "/shop/b\t')
  await bash.shows(/b\\\$\(touch run\)\/"/)
  bash.type('\nobjtree add Template /new source=@wel\t')
  await bash.shows(/welcome\.hbs $/)
  bash.type('\nexit\n')
  t.equal(await bash.ended, 0)
  t.notOk(existsSync(join(cwd, 'run')), 'no name is run')
})

t.test('zsh completes', needs(programProblem('script') ?? programProblem('zsh')), async t => {
  const { cwd } = await shop(t)
  const zsh = terminal(t, 'zsh -f -i', { cwd, env: { PATH } })
  zsh.type(
    `stty cols 200; autoload -Uz compinit; compinit -u -d ${cwd}/dump; source <(objtree completion zsh); echo is-"ready"\n`,
  )
  await zsh.shows(/is-ready\n/)
  zsh.type('objtree ls /sh\t')
  await zsh.shows(/objtree ls \/shop\/$/)
  zsh.type('a\t\n')
  await zsh.shows(/a\\ b\/?\n/)
  zsh.type('objtree set /shop ti\t')
  await zsh.shows(/set \/shop title=$/)
  zsh.type('x; objtree add Template /new source=@wel\t')
  await zsh.shows(/welcome\.hbs ?$/)
  zsh.type('\nexit\n')
})

t.test('fish completes', needs(programProblem('fish')), async t => {
  const { cwd } = await shop(t)
  const complete = async (line: string) =>
    (await program(cwd, 'fish', ['-c', `objtree completion fish | source; complete -C '${line}'`], { PATH })).stdout
  t.match(await complete('objtree ls /sh'), /^\/shop\/\tFolder$/m)
  t.match(await complete('objtree add Templ'), /^Template/m)
  t.match(await complete('objtree set /shop ti'), /^title=\t/m)
  t.match(await complete('objtree add Template /x source=@wel'), /welcome\.hbs/)
})
