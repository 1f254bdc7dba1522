/** objtree on a terminal (a pty, made by util-linux' script): it asks before it removes, draws tables, and shows progress. */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { objtreeUser } from '../support/objtree.ts'
import { TOP } from '../support/program.ts'

const skip = spawnSync('script', ['--version']).status === 0 ? false : 'there is no script (util-linux) here'

/** Runs a command line on a terminal, and types `answer` when it is asked. @returns all that the terminal got, and the exit code */
function onTerminal(
  cwd: string,
  line: string,
  {
    answer,
    env = {},
    columns = 200,
  }: { answer?: string; env?: Readonly<Record<string, string>>; columns?: number } = {},
): Promise<{ screen: string; code: number }> {
  const child = spawn('script', ['-qec', `stty cols ${columns}; ${join(TOP, 'bin', 'objtree')} ${line}`, '/dev/null'], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, TERM: 'xterm-256color', ...env },
  })
  let screen = ''
  let asked = false
  child.stdout.on('data', piece => {
    screen += piece
    if (asked || answer === undefined || !screen.includes('[y/N]')) return
    asked = true
    child.stdin.write(answer)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ screen: screen.replaceAll('\r', ''), code: code ?? -1 }))
  })
}

async function shop(t: Test) {
  const user = await objtreeUser(t)
  await user.ok(['add', 'Template', '/shop/page', 'title=A page', '--parents'])
  return user
}

t.test('what cannot be typed again is asked for; only yes does it', { skip }, async t => {
  const { cwd, json } = await shop(t)
  for (const answer of ['n\n', '\n', 'nay\n', '\u0004']) {
    const { screen, code } = await onTerminal(cwd, 'rm -r /shop', { answer })
    t.match(screen, /would remove Folder \/shop and 1 object in it\n.*\[y\/N\]/)
    t.match(screen, /nothing was changed/)
    t.equal(code, 0)
  }
  t.match(await json(['ls', '/']), [{ name: 'shop' }])
  const { screen } = await onTerminal(cwd, 'mv /shop/page /shop/other')
  t.notMatch(screen, /\[y\/N\]/, 'where nothing is lost, nothing is asked')
  const yes = await onTerminal(cwd, 'rm -r /shop', { answer: 'y\n' })
  t.match(yes.screen, /removed Folder \/shop and 1 object in it\ntake it back with: objtree undo \d+/)
  t.same(await json(['ls', '/']), [])
  const tid = /undo (\d+)/.exec(yes.screen)?.[1]
  t.match((await onTerminal(cwd, `undo ${tid}`, { answer: 'yes\n' })).screen, /would undo 1 transaction(.|\n)*undone: /)
  t.match(await json(['ls', '/']), [{ name: 'shop' }])
  t.notMatch((await onTerminal(cwd, 'rm -r /shop --yes')).screen, /\[y\/N\]/)
})

t.test('lists are tables, in colour unless NO_COLOR is set', { skip }, async t => {
  const { cwd, ok } = await shop(t)
  const colour = /\u001b\[\d+m/
  const coloured = await onTerminal(cwd, 'ls -l /shop')
  t.match(coloured.screen, colour)
  t.match(coloured.screen, /│.*page.*│.*Template.*│/)
  const plain = await onTerminal(cwd, 'ls -l /shop', { env: { NO_COLOR: '1' } })
  t.notMatch(plain.screen, colour)
  t.match(plain.screen, /│ name +│ type +│ size +│ changed +│ title +│/)
  const name = 'x'.repeat(300)
  await ok(['add', 'Folder', `/shop/${name}`, `title=${name}`])
  const table = (await onTerminal(cwd, 'ls -l /shop', { columns: 80, env: { NO_COLOR: '1' } })).screen
  const lines = table.trim().split('\n')
  t.ok(lines.length > 4 && lines.every(line => line.length <= 80), table)
  t.match(table, /│ x+… │/, 'what is too wide is cut off')
  t.match((await onTerminal(cwd, 'ls /shop', { columns: 15 })).screen, name, 'a terminal that is too narrow gets all')
  t.match((await onTerminal(cwd, 'ls /shop/page --json')).screen, /^\[\n {2}\{\n/, 'JSON is JSON')
})

t.test('long work shows how far it is, and leaves nothing of that behind', { skip }, async t => {
  const { cwd } = await shop(t)
  const { screen, code } = await onTerminal(cwd, 'verify')
  t.equal(code, 0)
  t.match(screen, /records \[.*\] \d+\/\d+, [\d,]+\/s, .* left/)
  t.match(screen, /\d+ objects, .*: all as they were written\n$/)
  const exported = (await onTerminal(cwd, 'export /shop --output shop.objtree')).screen
  t.match(exported, /bytes \[.*\] (\d+) of about \1, [\d,]+\/s, about .* left/)
  t.match((await onTerminal(cwd, 'upgrade')).screen, /objects \[.*\] \d+\/\d+, [\d,]+\/s, .* left/)
  const packed = (await onTerminal(cwd, 'pack --yes')).screen
  t.match(packed, /objects reached \[.*\] \d+ of about \d+, [\d,]+\/s, about .* left/)
  t.match(packed, /compacting \[.*\] 3\/4/)
  t.match(
    (await onTerminal(cwd, 'export /shop')).screen,
    /use --output FILE, or redirect it/,
    'bytes are not for terminals',
  )
})
