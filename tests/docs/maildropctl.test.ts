/** docs/maildropctl.md and the programs agree, in both directions: commands, options, examples; and every example runs. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS } from '../../maildrop/commands/table.ts'
import { CONFIG_KEY_NAMES } from '../../maildrop/keys.ts'
import { SAMPLE } from '../support/maildrop.ts'
import { directory, program, TOP } from '../support/program.ts'
import { waitFor } from '../support/waiting.ts'
import { wordsOf } from '../support/words.ts'

const PAGE = readFileSync(join(TOP, 'docs/maildropctl.md'), 'utf8')
const [, CONTROL = '', ...PROGRAMS] = PAGE.split(/^# /m)
const [HEAD = '', ...SECTIONS] = CONTROL.split(/^## /m)
const titled = (parts: readonly string[]) => new Map(parts.map(part => [part.slice(0, part.indexOf('\n')), part]))
const sections = titled(SECTIONS)
const programs = titled(PROGRAMS)

const rowsOf = (section: string): string[] =>
  Array.from(section.matchAll(/^\| `(.*)` \| (.*) \|$/gm), ([, term, meaning]) => `${term} | ${meaning}`)

const examplesOf = (section: string): string[] =>
  Array.from(section.matchAll(/^\$ (.*?) {2}# (.*)$/gm), ([, line, meaning]) => `${line} | ${meaning}`)

const VALUES: Readonly<Record<string, string>> = { boolean: '', number: ' N', string: ' TEXT' }

/** What a help text says may be typed, and its examples, as the page writes them. */
function readHelp(help: string) {
  const under = (heading: string): string => help.split(`\n${heading}:\n`)[1]?.split('\n\n')[0] ?? ''
  const words = Array.from(
    under('Positionals').matchAll(/^ +(\w+) {2,}(.*?) {2}\[/gm),
    ([, name, what]) => `${name} | ${what}`,
  )
  const options = new Map(
    Array.from(
      help.matchAll(/^ +(-\w, )?--([\w-]+) +(.*?) {2}\[(\w+)\](?: \[default: (.*)\])?$/gm),
      ([, alias = '', name = '', what, type = '', usual]) => {
        const fallback = type === 'boolean' || usual === undefined ? '' : ` [default: ${usual}]`
        return [name, `${alias}--${name}${VALUES[type]} | ${what}${fallback}`] as const
      },
    ),
  )
  const examples = under('Examples')
    .split('\n')
    .map(line => line.trim().replace(/ {2,}/, ' | '))
  return { words, options, examples: examples.filter(line => line !== '') }
}

async function helpOf(name: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await program(TOP, `maildrop/bin/${name}`, [...args, '--help'])
  t.same([code, stderr], [0, ''])
  return stdout
}

const CHOICE = ['state', 'id', 'from', 'to', 'older', 'younger']
const STANDARD = ['help', 'version']

t.test('every command has a section with its options and examples, and every section a command', async t => {
  t.same([...sections.keys()], Object.keys(COMMANDS))
  const listed = (await helpOf('maildropctl')).split('\nOptions:')[0]!
  t.same(
    Array.from(listed.matchAll(/^ {2}maildropctl (\w+)(?: [<[]\S+)? {2,}(.*)$/gm), ([, name, what]) => [name, what]),
    Object.entries(COMMANDS).map(([name, { summary }]) => [name, summary]),
  )
  for (const [name, { words, summary }] of Object.entries(COMMANDS)) {
    const section = sections.get(name) ?? ''
    const usage = ['maildropctl', name, words].filter(Boolean).join(' ')
    t.match(section, `\`${usage}\`: ${summary}.`, name)
    const help = readHelp(await helpOf('maildropctl', name))
    const chooses = help.options.has('state')
    t.equal(
      section.includes('The options that choose messages are taken'),
      chooses,
      `${name} says that it takes a choice`,
    )
    const elsewhere = ['config', ...STANDARD, ...(chooses ? CHOICE : [])]
    const own = [...help.options].flatMap(([name, row]) => (elsewhere.includes(name) ? [] : [row]))
    t.same(rowsOf(section), [...help.words, ...own], `what may be typed after ${name}`)
    t.same(examplesOf(section), help.examples, `the examples of ${name}`)
    t.ok(help.examples.length > 0, `${name} has an example`)
    if (name === 'queue')
      t.same(
        rowsOf(HEAD),
        ['config', ...CHOICE].map(name => help.options.get(name)),
        'what many commands take',
      )
  }
})

t.test('so have the other programs, and no page describes one that there is not', async t => {
  t.same([...programs.keys()], ['start_maildrop', 'stop_maildrop'])
  for (const [name, section] of programs) {
    const text = await helpOf(name)
    const { options, examples } = readHelp(text)
    t.same(
      rowsOf(section),
      [...options].flatMap(([name, row]) => (STANDARD.includes(name) ? [] : [row])),
      name,
    )
    t.same(examplesOf(section), examples, name)
    t.match(section, `\`${name}\`: ${text.split('\n')[2]!.replace(/^S/, 's')}`)
  }
})

t.test('the help of what starts a daemon names every key', async t => {
  for (const name of ['maildropctl', 'start_maildrop']) {
    const named = (await helpOf(name)).split(/\s+/)
    t.same(
      CONFIG_KEY_NAMES.filter(key => !named.includes(key)),
      [],
      name,
    )
  }
})

/** The message that the examples speak of. */
const ID = '0mhx2k4f1-000001-9f86d081884c7d659a2f'

t.test('every example does what it says', async t => {
  const home = await directory(t)
  const spool = join(home, 'data/maildrop/spool')
  const configs = { '/etc/maildrop/news': join(home, 'news'), '/etc/maildrop/new': join(home, 'new') }
  for (const file of Object.values(configs)) writeFileSync(file, `MAILDROP_HOME="${file}.d"\n`)
  const env = { MAILDROP_CAPTURE: 'maildir:inbox', MAILDROP_TLS: '0' }
  const stop = (...args: string[]) => program(home, 'maildrop/bin/stop_maildrop', args, env)
  t.teardown(async () => {
    await stop()
    await stop('--config', configs['/etc/maildrop/news'])
  })
  const running = new Set<ChildProcess>()
  t.teardown(() => {
    for (const child of running) child.kill('SIGKILL')
  })

  /** Runs what does not end by itself until it has printed something; then it ends when it is asked to. */
  const untilPrinted = async (name: string, words: readonly string[], more: object) => {
    const child = spawn(join(TOP, 'maildrop/bin', name), words, {
      cwd: home,
      env: { PATH: process.env.PATH, ...env, ...more },
    })
    running.add(child)
    let printed = ''
    child.stdout?.on('data', text => (printed += text))
    await waitFor('output', () => / start .*pid=/.test(printed))
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit')
    running.delete(child)
    t.equal(code, 0, `${name} ${words.join(' ')} ends when it is asked to`)
  }

  const example = async (line: string) => {
    const { words } = wordsOf(line)
    if (words[0] === 'DEBUG=1') return await untilPrinted(words[1]!, words.slice(2), { DEBUG: '1' })
    const [name = '', ...args] = words.map(word => configs[word as keyof typeof configs] ?? word)
    if (args.includes('--follow')) return await untilPrinted(name, args, {})
    const { code, stdout, stderr } = await program(home, `maildrop/bin/${name}`, args, env)
    t.same([code, stderr], [0, ''], line)
    t.ok(stdout, line)
    t.notMatch(stdout, /undefined|\[object Object\]|NaN/, line)
    return stdout
  }

  const place = (directory: string): void => {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    writeFileSync(join(directory, ID), SAMPLE)
  }
  const linesOf = (part: string): string[] =>
    Array.from(part.matchAll(/^\$ (.*?) {2}# /gm), ([, line]) => line as string)

  const [start = '', debug = ''] = linesOf(programs.get('start_maildrop') ?? '')
  await example(start)
  for (const line of linesOf(programs.get('stop_maildrop') ?? '')) await example(line)
  await example(debug)
  for (const [name, section] of sections) {
    if (name === 'queue') await stop()
    for (const line of linesOf(section)) {
      if (['queue', 'show', 'retry', 'hold', 'delete'].includes(name)) place(spool)
      if (name === 'release') place(join(spool, 'hold'))
      const printed = await example(line)
      if (name === 'queue' && line.includes('--json')) t.match(printed, ID)
      if (/^maildropctl (hold|release|delete) 0/.test(line)) t.match(printed, /^1 message /m)
    }
  }
})
