/** The manual pages: those of the programs and of each command of objtree, and that of the configuration, with all that the documentation says. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS, type CommandName, loadCommand } from '../../administration/commands/index.ts'
import { manualPages } from '../../bin/man.ts'
import { optionsOf } from '../../bin/usage.ts'
import { COMMANDS as CONTROL } from '../../maildrop/commands/table.ts'
import { CONFIG_KEYS } from '../../maildrop/keys.ts'
import { needs } from '../support/peers.ts'
import { TOP } from '../support/program.ts'

const pages = manualPages(file => readFileSync(join(TOP, file), 'utf8'))
const formatter = ['mandoc', 'groff'].find(name => spawnSync(name, ['--version']).error === undefined)

/** What a page says, without its markup. */
const plain = (page: string): string =>
  page
    .replace(/\\f[BIR]|\\&/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\e', '\\')

t.test('there is a page for each command of objtree, with its usage, options and examples', async t => {
  t.same(
    [...pages.keys()].filter(file => file.startsWith('objtree')),
    ['objtree.1', ...Object.keys(COMMANDS).map(name => `objtree-${name}.1`)],
  )
  for (const name of Object.keys(COMMANDS) as CommandName[]) {
    const command = await loadCommand(name)
    const page = plain(pages.get(`objtree-${name}.1`) ?? '')
    t.match(page, `\nobjtree-${name} - ${COMMANDS[name].summary}\n`)
    for (const option of Object.keys(optionsOf(command))) t.match(page, `--${option}`, `${name} --${option}`)
    for (const [line] of command.examples) t.match(page, `$ objtree ${line}`)
    t.match(page, /\n\.SH EXAMPLES\n/)
  }
  t.match(plain(pages.get('objtree.1') ?? ''), '--require')
})

t.test('there is one page for maildropctl, with every command', async t => {
  const page = plain(pages.get('maildropctl.8') ?? '')
  for (const [name, { words, summary, examples }] of Object.entries(CONTROL)) {
    const usage = ['maildropctl', name, words].filter(Boolean).join(' ')
    t.match(page, `\n.SS ${name}\n${usage}: ${summary}.\n`)
    for (const [line, what] of examples) t.match(page, `\n$ maildropctl ${line}  # ${what}\n`)
  }
  for (const option of ['--config', '--state', '--younger', '--dry-run', '--limit', '--follow'])
    t.match(page, `\n.TP\n${option}`.replace('--follow', '-f, --follow'))
  t.match(page, /\n\.SH OUTPUT AS JSON\n/)
})

t.test('there is one for the configuration, with every key and its default', async t => {
  const page = plain(pages.get('maildrop-config.5') ?? '')
  for (const [key, { default: value }] of Object.entries(CONFIG_KEYS)) {
    const [, meaning] = page.split(`\n.TP\n${key}\n`)
    t.ok(meaning, key)
    if (value !== '') t.match(meaning?.split('\n')[0], `[default: ${value}]`, key)
  }
})

t.test('there is one for each of the other programs', async t => {
  for (const name of ['start_maildrop', 'stop_maildrop']) {
    const page = plain(pages.get(`${name}.8`) ?? '')
    t.match(page, `\n.SH SYNOPSIS\n.B ${name}\n`)
    t.match(page, '\n--config TEXT\n')
    t.match(page, `\n$ ${name} `)
  }
})

t.test('a paragraph is one, however its lines are broken, and a table has its heading', async t => {
  const page = plain(pages.get('objtree.1') ?? '')
  t.match(page, /\n\.PP\nOption of every command:\n\.TP\n--db TEXT\n/)
  t.match(page, /\nWhere no --require is given.*where its database is;.*\n/)
  t.notMatch(page, /\n\|/)
})

t.test('no line of text is taken for a request', async t => {
  const requests = new Set(['.TH', '.SH', '.SS', '.B', '.I', '.RI', '.BR', '.PP', '.TP', '.IP', '.nf', '.fi'])
  for (const [file, page] of pages)
    for (const line of page.split('\n'))
      if (/^[.']/.test(line)) t.ok(requests.has(line.split(' ')[0] as string), `${file}: ${line}`)
})

t.test(
  'a formatter takes them',
  needs(formatter === undefined ? 'neither mandoc nor groff is here' : undefined),
  async t => {
    for (const [file, page] of pages) {
      const args = formatter === 'groff' ? ['-man', '-Tutf8', '-ww'] : ['-Tutf8', '-Wwarning']
      const { error, stderr } = spawnSync(formatter as string, args, { input: page, encoding: 'utf8' })
      // what a build makes has no date
      const complaints = stderr
        ?.split('\n')
        .filter(line => line !== '' && !/missing date|see above the output/.test(line))
      t.same([error, complaints], [undefined, []], file)
    }
  },
)
