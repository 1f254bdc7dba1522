/** docs/objtree.md and the commands agree: every command, option and example of one is in the other, and every key of their JSON. */
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import type { Option } from '../../administration/command.ts'
import { COMMANDS, type CommandName, loadCommand } from '../../administration/commands/index.ts'
import { COMMON, optionsOf, usageOf } from '../../bin/usage.ts'
import { objtreeUser } from '../support/objtree.ts'
import { TOP } from '../support/program.ts'

const PAGE = readFileSync(join(TOP, 'docs/objtree.md'), 'utf8')
const [HEAD = '', ...PARTS] = PAGE.split(/^## /m)
const sections = new Map(PARTS.map(part => [part.slice(0, part.indexOf('\n')), part]))

/** The rows of a section's table. */
const rowsOf = (section: string): string[] =>
  Array.from(section.matchAll(/^\| (`.*) \|$/gm), ([, row]) => row as string)

function rowOf(name: string, { alias, describe, default: value, type }: Option): string {
  const argument = { boolean: '', number: ' N', string: ' TEXT' }[type]
  const fallback = type !== 'boolean' && value !== undefined ? ` [default: ${value}]` : ''
  return `\`${alias === undefined ? '' : `-${alias}, `}--${name}${argument}\` | ${describe}${fallback}`
}

/** The keys on the first level of the JSON that a section describes. */
function keysOf(section: string): { readonly list: boolean; readonly keys: string[] } | undefined {
  const block = /^```ts\n(\[?)\{\n([\s\S]*?)\n\}\]?\n```$/m.exec(section)
  if (block === null) return undefined
  return { list: block[1] === '[', keys: Array.from(block[2]!.matchAll(/^ {2}(\w+):/gm), ([, key]) => key as string) }
}

t.test('every command has a section, and every section a command', async t => {
  t.same([...sections.keys()], Object.keys(COMMANDS))
  t.same(
    rowsOf(HEAD),
    Object.entries(COMMON).map(([name, option]) => rowOf(name, option)),
    'the options of every command',
  )
  for (const name of Object.keys(COMMANDS) as CommandName[]) {
    const command = await loadCommand(name)
    const section = sections.get(name) ?? ''
    t.match(section, `\`objtree ${usageOf(name, command)}\`: ${COMMANDS[name].summary}.`, name)
    const positionals = (command.positionals ?? []).map(
      ({ name, describe, default: value }) =>
        `\`${name}\` | ${describe}${value === undefined ? '' : ` [default: ${value}]`}`,
    )
    const options = Object.entries(optionsOf(command)).map(([name, option]) => rowOf(name, option))
    t.same(rowsOf(section), [...positionals, ...options], `what may be typed after ${name}`)
    t.same(
      Array.from(section.matchAll(/^\$ objtree (.*)$/gm), ([, line]) => line),
      command.examples.map(([line, meaning]) => `${line}  # ${meaning}`),
      `the examples of ${name}`,
    )
  }
})

/** A command line for each command that prints JSON; they run one after the other. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  init: [],
  add: ['MaildropHost', '/mail/XYZ', '--parents'],
  set: ['/mail/XYZ', 'title=Out'],
  ls: ['/mail'],
  tree: [],
  show: ['/mail/XYZ'],
  cp: ['/mail', '/copy'],
  mv: ['/copy', '/moved'],
  render: ['page.hbs', '--preview'],
  send: ['/mail/XYZ'],
  types: [],
  log: [],
  history: ['/mail/XYZ'],
  diff: ['2020-01-01', 'now'],
  export: ['/moved', '--output', 'moved.objtree'],
  import: ['/again', 'moved.objtree'],
  'export-dir': ['/mail', 'mail'],
  'import-dir': ['mail', '/new'],
  rm: ['/new', '-r'],
  verify: [],
  stats: [],
  backup: ['backup'],
  upgrade: [],
  salvage: ['salvaged'],
  undo: [],
  pack: [],
  restore: ['backup'],
  completion: ['bash'],
}
/** What may be there or not. */
const OPTIONAL = ['settings', 'messages', 'from', 'children']

t.test('the JSON that commands print has the keys that the page says, and no others', async t => {
  const { json, cwd } = await objtreeUser(t)
  await writeFile(join(cwd, 'page.hbs'), 'page')
  const shaped = [...sections].flatMap(([name, section]) => (keysOf(section) === undefined ? [] : [name]))
  t.same(
    shaped.filter(name => !Object.hasOwn(LINES, name)),
    [],
    'each is tried here',
  )
  let last = 0
  for (const [name, args] of Object.entries(LINES)) {
    const { list, keys } = keysOf(sections.get(name) ?? '') ?? { list: false, keys: [] }
    if (name === 'undo') last = (await json<[{ tid: number }]>(['log', '-n', '1']))[0].tid
    const words = name === 'undo' ? [String(last)] : name === 'diff' ? [await firstOf(json), 'now'] : args
    const result = await json<object | object[]>([name, ...words], 'From: a@b.de\nTo: c@d.de\n\nText\n')
    t.equal(Array.isArray(result), list, `${name} prints ${list ? 'a list' : 'one object'}`)
    const printed = Object.keys((Array.isArray(result) ? result[0] : result) ?? {})
    const missing = keys.filter(key => !printed.includes(key) && !OPTIONAL.includes(key))
    t.same([missing, printed.filter(key => !keys.includes(key))], [[], []], name)
  }
})

async function firstOf(json: (args: string[]) => Promise<unknown>): Promise<string> {
  const entries = (await json(['log'])) as { tid: number }[]
  return String(entries.at(-1)?.tid)
}
