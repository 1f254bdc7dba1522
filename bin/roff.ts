/**
 * Markdown as our documentation has it (paragraphs, lists, tables, blocks of code) in the language of manual pages, man(7).
 */

/** One page. @param section of the manual @param parts headings, with the Markdown below each */
export function page(
  name: string,
  section: number,
  summary: string,
  synopsis: string | undefined,
  parts: readonly (readonly [heading: string, markdown: string])[],
  seeAlso: readonly (readonly [name: string, section: number])[],
): string {
  const others = seeAlso.map(([name, section]) => `.BR ${text(name)} (${section})`).join(',\n')
  return [
    `.TH ${text(name.toUpperCase())} ${section}\n.SH NAME\n${text(name)} \\- ${text(summary)}\n`,
    synopsis === undefined ? '' : `.SH SYNOPSIS\n${synopsis}\n`,
    ...parts.map(([heading, markdown]) => `.SH ${heading}\n${body(markdown)}`),
    `.SH SEE ALSO\n${others}\n`,
  ].join('')
}

/** Headings below the first level are those of subsections. */
function body(markdown: string): string {
  return markdown
    .split(/^```\w*\n([\s\S]*?)^```$/m)
    .map((part, i) => (i % 2 === 1 ? `.PP\n.nf\n${lines(part)}\n.fi\n` : prose(part)))
    .join('')
    .replace(/^\.PP\n/, '')
    .replace(/^(\.S[HS] .*\n)\.PP\n/gm, '$1')
}

const lines = (code: string): string => code.trimEnd().split('\n').map(text).join('\n')

/** Blocks, between empty lines. */
function prose(markdown: string): string {
  return markdown
    .split(/\n{2,}/)
    .map(block => block.trim())
    .filter(block => block !== '')
    .map(block => {
      if (block.startsWith('.SH ')) return `${block}\n`
      if (block.startsWith('#')) return `.SS ${inline(block.replace(/^#+ /, ''))}\n`
      if (block.startsWith('|')) return table(block.split('\n'))
      if (/^(-|1\.) /.test(block)) return list(block)
      return `.PP\n${inline(joined(block))}\n`
    })
    .join('')
}

const joined = (block: string): string => block.replace(/\s*\n\s*/g, ' ')

function list(block: string): string {
  return block
    .split(/\n(?=(?:-|\d+\.) )/)
    .map(item => {
      const [, number, said = ''] = /^(?:-|(\d+\.)) ([\s\S]*)$/.exec(item) ?? []
      return `.IP ${number ?? '\\(bu'} ${number === undefined ? 2 : 4}\n${inline(joined(said))}\n`
    })
    .join('')
}

/** A list of terms; a head with one cell stands above it. Of three columns the second is what the first has if nothing is said, or its part. */
function table([head = '', , ...rows]: readonly string[]): string {
  const [caption = '', second = '', ...more] = cellsOf(head)
  const shown = caption !== '' && second === '' ? `.PP\n${inline(capital(caption))}:\n` : ''
  const terms = rows.map(cellsOf).map(([first = '', ...rest]) => {
    if (more.length === 0) return [first, rest.join(' | ')]
    const [middle = '', ...meaning] = rest
    if (second !== 'default') return [`${middle} (${first})`, meaning.join(' | ')]
    return [first, `${meaning.join(' | ')}${middle === '' ? '' : ` [default: ${middle}]`}`]
  })
  return `${shown}${terms.map(([term, meaning]) => `.TP\n${inline(term as string)}\n${inline(meaning as string)}\n`).join('')}`
}

const cellsOf = (row: string): string[] =>
  row
    .replace(/^\||\|$/g, '')
    .split(/(?<!\\)\|/)
    .map(cell => cell.trim().replaceAll('\\|', '|'))

const capital = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`

/** Code and what is strong is bold, emphasis italic, links are their text. */
function inline(markdown: string): string {
  const marked = markdown
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/\*\*(.*?)\*\*|\*`(.*?)`\*|`([^`]*)`|\*(.*?)\*/g, (_, strong, emphasisedCode, code, emphasis) => {
      const slanted = emphasisedCode ?? emphasis
      return slanted === undefined ? `\u0001${strong ?? code}\u0002` : `\u0003${slanted}\u0002`
    })
  return text(marked).replaceAll('\u0001', '\\fB').replaceAll('\u0003', '\\fI').replaceAll('\u0002', '\\fR')
}

/** Text that troff does not take for requests. */
export function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(\.|')/, '\\&$1')
}
