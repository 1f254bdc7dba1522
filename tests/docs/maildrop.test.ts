/** docs/maildrop.md and the program agree, in both directions: keys, commands, options, events, fields, metrics; its sessions run. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { LOG_EVENTS, LOG_FIELDS } from '../../maildrop/daemon/log-events.ts'
import { openMeters } from '../../maildrop/daemon/meters.ts'
import { CONFIG_KEYS, type ConfigKey } from '../../maildrop/index.ts'
import { program, TOP } from '../support/program.ts'
import { blocksOf, follow } from '../support/readme.ts'

const GUIDE = readFileSync(join(TOP, 'docs/maildrop.md'), 'utf8')

/** The rows of the tables under a heading, each as its cells; the first is a name in backquotes. */
function rowsUnder(heading: string): string[][] {
  const section = GUIDE.split(/^(?=## )/m).find(part => part.startsWith(`## ${heading}\n`)) ?? ''
  return Array.from(section.matchAll(/^\| `([\w-]+)` \| (.*) \|$/gm), ([, name = '', rest = '']) => [
    name,
    ...rest.split(' | '),
  ])
}

const plain = (text: string): string => text.replaceAll('`', '').replace(/\.$/, '')

t.test('every key is described as it is, and no other', async t => {
  const rows = rowsUnder('Configuration')
  t.same(rows.map(([key]) => key).sort(), Object.keys(CONFIG_KEYS).sort())
  const table: Record<string, ConfigKey> = CONFIG_KEYS
  for (const [key = '', value = '', meaning = ''] of rows) {
    const { default: usual, description } = table[key]!
    const [text = '', elsewhere = ''] = description.replace(/\.$/, '').split(' Default: ')
    t.equal(`${plain(value).trim()}|${plain(meaning)}`, `${usual || plain(elsewhere)}|${plain(text)}`, key)
  }
})

/** The commands of a help text with what they do, and its options. */
function readHelp(text: string) {
  const commands = Array.from(
    text.split('Examples:')[0]!.matchAll(/^ {2}maildropctl (\w+)(?: [<[]\S+)? {2,}(.*)$/gm),
    ([, name, what]) => [name ?? '', what ?? ''],
  )
  const options = Array.from(text.matchAll(/^ +(?:-\w, )?--([\w-]+) /gm), ([, name]) => `--${name}`)
  return { commands, options }
}

const CHOICE = ['--state', '--id', '--from', '--to', '--older', '--younger']
const COMMON = ['--config', '--help']

t.test('every command and option is described, and no other', async t => {
  const help = async (...args: string[]) => {
    const { code, stdout } = await program(TOP, 'maildrop/bin/maildropctl', [...args, '--help'], { COLUMNS: '200' })
    t.equal(code, 0)
    return stdout
  }
  const top = await help()
  const rows = rowsUnder('Commands')
  t.same(
    rows.map(([name]) => name),
    readHelp(top).commands.map(([name]) => name),
  )
  for (const [name = '', options = '', what = ''] of rows) {
    const text = await help(name)
    const listed = options.includes('choice') ? CHOICE : []
    const expected = [...listed, ...Array.from(options.matchAll(/`(--[\w-]+)`/g), ([, option]) => option), ...COMMON]
    t.same(readHelp(text).options.sort(), expected.sort(), name)
    t.match(text.replace(/\s+/g, ' '), what.replace(/\s+/g, ' '), name)
  }
  for (const key of Object.keys(CONFIG_KEYS)) t.match(top.replace(/\s+/g, ' '), new RegExp(`\\b${key}\\b`), key)
})

t.test('every event and field of the log is described as it is, and no other', async t => {
  const rows = rowsUnder('The log').map(([name = '', ...rest]) => [name, rest.join(' | ')])
  const events = rows.slice(0, Object.keys(LOG_EVENTS).length)
  t.same(Object.fromEntries(events), LOG_EVENTS)
  t.same(Object.fromEntries(rows.slice(events.length)), LOG_FIELDS)
})

t.test('every metric is described as it is, and no other', async t => {
  const measured = { started: new Date(), spools: () => [], status: () => undefined, stalled: () => 0 }
  const help = (await openMeters(measured).text()).matchAll(/^# HELP (\S+) (.*)$/gm)
  t.same(
    Object.fromEntries(rowsUnder('Metrics')),
    Object.fromEntries(Array.from(help, ([, name, text]) => [name, text])),
  )
})

t.test('what the guide refers to in itself is there', async t => {
  const anchors = Array.from(GUIDE.matchAll(/^#+ (.*)$/gm), ([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  )
  for (const [, anchor = ''] of GUIDE.matchAll(/\]\(#([^)]+)\)/g)) t.ok(anchors.includes(anchor), anchor)
})

t.test('the sessions print what stands there', async t => {
  const cwd = mkdtempSync(join(tmpdir(), 'guide-'))
  t.teardown(async () => {
    await program(cwd, 'maildrop/bin/stop_maildrop', [])
    rmSync(cwd, { recursive: true, force: true })
  })
  const env = { PATH: `${join(TOP, 'maildrop', 'bin')}:${process.env.PATH}`, HOME: cwd }
  await follow(t, cwd, [...blocksOf(GUIDE, '## A first look'), ...blocksOf(GUIDE, '## The log')], env)
})
