/** docs/howto.md: its command lines are those of the commands, its units are taken by systemd, its backup is made. */
import { readFileSync } from 'node:fs'
import { copyFile, mkdir, readdir, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import t from 'tap'
import yargs from 'yargs'
import { isCommand, loadCommand } from '../../administration/commands/index.ts'
import { COMMON, declare, optionOptions, usageOf } from '../../bin/usage.ts'
import { loadConfig } from '../../maildrop/index.ts'
import { CONFIG_KEYS } from '../../maildrop/keys.ts'
import { objtreeUser } from '../support/objtree.ts'
import { needs, programProblem } from '../support/peers.ts'
import { directory, program, TOP } from '../support/program.ts'
import { wordsOf } from '../support/words.ts'

const PAGE = readFileSync(join(TOP, 'docs/howto.md'), 'utf8')
const lines = Array.from(
  PAGE.matchAll(/(?:^\$ |`|npx )objtree ([^\n`|]*?)(?:`| \| |'$|$)/gm),
  ([, line]) => line as string,
)

t.test('every command line of objtree in the guides is one that it takes', async t => {
  t.ok(lines.length > 20, 'they were found')
  for (const line of lines) {
    const { words } = wordsOf(line.replaceAll(/"?\$\([^)]*\)"?/g, '2026-01-01').replace(' …', ' /x'))
    const name = words.find((word, i) => !word.startsWith('-') && words[i - 1] !== '--db')
    if (name === undefined || !isCommand(name)) {
      t.fail(`objtree ${line}`)
      continue
    }
    // where the text speaks of a command, it need not say all of it
    const command = await loadCommand(name)
    const complete = PAGE.includes(`$ objtree ${line}`)
    const parser = yargs(words).options(
      Object.fromEntries(Object.entries(COMMON).map(([option, spec]) => [option, optionOptions(spec)])),
    )
    const problems: string[] = []
    parser
      .command(complete ? usageOf(name, command) : `${name} [a] [b] [c..]`, '', argv =>
        declare(argv, complete ? command : { ...command, positionals: [] }),
      )
      .strict()
      .exitProcess(false)
      .fail(message => void problems.push(message))
    await parser.parseAsync()
    t.same(problems, [], `objtree ${line}`)
  }
})

t.test('every key of the configuration in the guides is one', async t => {
  const keys = new Set(Array.from(PAGE.matchAll(/\b(MAILDROP_[A-Z_]+|DEBUG_RECEIVER)\b/g), ([key]) => key))
  t.ok(keys.size > 4)
  const own = ['MAILDROP_CONFIG', 'MAILDROP_CONFIGS']
  for (const key of keys) t.ok(key in CONFIG_KEYS || own.includes(key), key)
})

/** The blocks of a kind, each with the file that its first line names. */
const files = Array.from(PAGE.matchAll(/^```ini\n# (\/\S+)\n([\s\S]*?)^```$/gm), ([, path, text]) => ({
  path: path as string,
  text: text as string,
}))
const units = files.filter(({ path }) => path.startsWith('/etc/systemd/system/'))

t.test('systemd finds nothing wrong with the units', needs(programProblem('systemd-analyze')), async t => {
  const home = await directory(t)
  const others = join(TOP, 'maildrop/maildrop.service')
  await copyFile(others, join(home, 'maildrop.service'))
  for (const { path, text } of units)
    await writeFile(join(home, basename(path)), text.replaceAll('/usr/bin/node', process.execPath))
  const names = units.map(({ path }) => join(home, basename(path)))
  t.equal(names.length, 3)
  const { code, stdout, stderr } = await program(home, 'systemd-analyze', ['verify', '--man=no', ...names])
  // what it thinks of the units of the machine is not our affair
  const ours = `${stdout}${stderr}`.split('\n').filter(line => /shop|maildrop/.test(line))
  t.same([code, ours], [0, []])
})

t.test('the backup of the timer is one, and removes those that are older than a fortnight', async t => {
  const { cwd, ok, json } = await objtreeUser(t)
  await ok(['add', 'Folder', '/f'])
  const backups = join(cwd, 'backups')
  for (const [name, days] of [
    ['old', 16],
    ['young', 3],
  ] as const) {
    await mkdir(join(backups, name), { recursive: true })
    const then = new Date(Date.now() - days * 86_400_000)
    await utimes(join(backups, name), then, then)
  }
  const { text } = units.find(({ path }) => path.endsWith('shop-backup.service'))!
  const commands = Array.from(text.matchAll(/^ExecStart=(.*)$/gm), ([, command]) => command as string)
  t.equal(commands.length, 2)
  for (const command of commands) {
    const here = command
      .replaceAll('%%', '%')
      .replaceAll('/var/backups/shop', backups)
      .replace('npx objtree', join(TOP, 'bin/objtree'))
    t.match(await program(cwd, 'sh', ['-c', here]), { code: 0, stderr: '' }, command)
  }
  const [backup, young, ...others] = (await readdir(backups)).sort()
  t.match(backup, /^\d{4}-\d\d-\d\d-\d{4}$/)
  t.same([young, others], ['young', []])
  await ok(['--db', 'trial', 'restore', join(backups, backup as string)])
  t.match(await json(['--db', 'trial', 'ls']), [{ name: 'f' }])
})

t.test('the configuration of the staging machine is one', async t => {
  const home = await directory(t)
  const config = files.find(({ path }) => path === '/etc/maildrop/config')!
  const file = join(home, 'config')
  await writeFile(file, config.text, { mode: 0o600 })
  t.match(loadConfig({ file, env: {} }), { capture: { path: '/var/lib/maildrop/captured' } })
})
