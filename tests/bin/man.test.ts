/** The manual pages: one for objtree and for each command, with all that docs/objtree.md says of it. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { COMMANDS, type CommandName, loadCommand } from '../../administration/commands/index.ts'
import { manualPages } from '../../bin/man.ts'
import { optionsOf } from '../../bin/usage.ts'
import { needs } from '../support/peers.ts'
import { TOP } from '../support/program.ts'

const pages = manualPages(readFileSync(join(TOP, 'docs/objtree.md'), 'utf8'))
const formatter = ['mandoc', 'groff'].find(name => spawnSync(name, ['--version']).error === undefined)

/** What a page says, without its markup. */
const plain = (page: string): string =>
  page
    .replace(/\\f[BR]|\\&/g, '')
    .replaceAll('\\-', '-')
    .replaceAll('\\e', '\\')

t.test('there is a page for each command, with its usage, options and examples', async t => {
  t.same([...pages.keys()], ['objtree.1', ...Object.keys(COMMANDS).map(name => `objtree-${name}.1`)])
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

t.test('no line of text is taken for a request', async t => {
  const requests = new Set(['.TH', '.SH', '.B', '.I', '.RI', '.BR', '.PP', '.TP', '.IP', '.nf', '.fi'])
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
