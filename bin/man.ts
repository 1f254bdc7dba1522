/**
 * Makes the manual pages from the documentation, which tests compare with the commands:
 *
 *     docs/objtree.md       objtree.1, and objtree-NAME.1 for each of its commands
 *     docs/maildropctl.md   maildropctl.8, start_maildrop.8, stop_maildrop.8
 *     docs/maildrop.md      maildrop-config.5, from its section about the configuration
 *
 * The build writes them; they are in the package and not in version control.
 */
import { page, text } from './roff.ts'

/** @param read gives the text of a page of the documentation. @returns the pages by the names of their files */
export function manualPages(read: (file: string) => string): Map<string, string> {
  const guide = read('docs/maildrop.md')
  return new Map([
    ...objtreePages(read('docs/objtree.md')),
    ...maildropPages(read('docs/maildropctl.md'), guide),
    ['maildrop-config.5', configurationPage(guide)],
  ])
}

function objtreePages(markdown: string): [file: string, page: string][] {
  const { head, sections } = partsOf(markdown)
  const others = sections.map(({ title }) => [`objtree-${title}`, 1] as const)
  const description = ['DESCRIPTION', head] as const
  const synopsis = '.B objtree\n.I COMMAND\n.RI [ options ]'
  return [
    ['objtree.1', page('objtree', 1, 'looks at and changes the object tree', synopsis, [description], others)],
    ...sections.map(({ title, text: section }): [string, string] => {
      const { usage, summary, rest } = command(section)
      const name = `objtree-${title}`
      const parts = [['DESCRIPTION', headed(rest)]] as const
      return [`${name}.1`, page(name, 1, summary, `.B ${text(usage)}`, parts, [['objtree', 1]])]
    }),
  ]
}

/** Pages that refer to each other. */
const MAILDROP = [
  ['maildropctl', 8],
  ['start_maildrop', 8],
  ['stop_maildrop', 8],
  ['maildrop-config', 5],
] as const

const othersThan = (name: string) => MAILDROP.filter(([each]) => each !== name)

function maildropPages(markdown: string, guide: string): [file: string, page: string][] {
  const [, control = '', ...programs] = markdown.split(/^# /m)
  const { head, sections } = partsOf(control.slice(control.indexOf('\n')))
  const commands = sections.map(({ title, text: section }) => {
    const { usage, summary, rest } = command(section)
    return `### ${title}\n\n\`${usage}\`: ${summary}.\n\n${rest}`
  })
  const parts = [
    ['DESCRIPTION', head],
    ['COMMANDS', commands.join('\n\n')],
    ['OUTPUT AS JSON', sectionOf(guide, 'Output as JSON')],
  ] as const
  const summary = 'controls the daemon that delivers mail, and looks after the mail in its spool'
  const synopsis = '.B maildropctl\n.I COMMAND\n.RI [ options ]'
  return [
    ['maildropctl.8', page('maildropctl', 8, summary, synopsis, parts, othersThan('maildropctl'))],
    ...programs.map((program): [string, string] => {
      const name = program.slice(0, program.indexOf('\n'))
      const { usage, summary, rest } = command(program)
      const parts = [
        ['DESCRIPTION', headed(rest)],
        ['SIGNALS', sectionOf(guide, 'Signals')],
      ] as const
      return [`${name}.8`, page(name, 8, summary, `.B ${text(usage)}\n.RI [ options ]`, parts, othersThan(name))]
    }),
  ]
}

function configurationPage(guide: string): string {
  const parts = [['DESCRIPTION', sectionOf(guide, 'Configuration')]] as const
  return page(
    'maildrop-config',
    5,
    'configuration of the maildrop and its daemon',
    undefined,
    parts,
    othersThan('maildrop-config'),
  )
}

function partsOf(markdown: string) {
  const [head = '', ...sections] = markdown.replace(/^# .*$/m, '').split(/^## /m)
  return { head, sections: sections.map(text => ({ title: text.slice(0, text.indexOf('\n')), text })) }
}

function sectionOf(markdown: string, title: string): string {
  const found = partsOf(markdown).sections.find(section => section.title === title)
  if (found === undefined) throw new Error(`the documentation has no section '${title}'`)
  return found.text.slice(title.length)
}

/** `` `usage`: summary. The rest. `` */
function command(section: string) {
  const [, usage = '', summary = '', rest = ''] = /^`([^`]*)`: ([^.]*)\.([\s\S]*)$/m.exec(section) ?? []
  return { usage, summary, rest }
}

/** What is said of a command, under the headings that manual pages have. */
function headed(markdown: string): string {
  return markdown
    .replace(/^\| \| \|$/m, '.SH OPTIONS\n\n| | |')
    .replace(/^```console$/m, '.SH EXAMPLES\n\n```console')
    .replace(/^```ts$/m, '.SH JSON\n\n```ts')
}
