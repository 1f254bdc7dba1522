/**
 * Makes the manual pages from docs/objtree.md, which a test compares with the commands: `man/objtree.1`, and `man/objtree-NAME.1` for each of
 * them. The build writes them; they are in the package and not in version control.
 */

/** @param markdown docs/objtree.md. @returns the pages by the names of their files */
export function manualPages(markdown: string): Map<string, string> {
  const [head = '', ...sections] = markdown.split(/^## /m)
  const names = sections.map(section => section.slice(0, section.indexOf('\n')))
  const others = names.map(name => `.BR objtree\\-${text(name)} (1)`).join(',\n')
  const pages = new Map<string, string>()
  pages.set(
    'objtree.1',
    `${title('objtree')}.SH NAME\nobjtree \\- looks at and changes the object tree\n.SH SYNOPSIS\n.B objtree\n.I COMMAND\n.RI [ options ]\n.SH DESCRIPTION\n${body(head.replace(/^# .*$/m, ''))}.SH SEE ALSO\n${others}\n`,
  )
  for (const [i, section] of sections.entries()) {
    const [, usage = '', summary = '', rest = ''] = /^`(objtree [^`]*)`: ([^.]*)\.([\s\S]*)$/m.exec(section) ?? []
    const name = `objtree-${names[i]}`
    pages.set(
      `${name}.1`,
      `${title(name)}.SH NAME\n${text(name)} \\- ${text(summary)}\n.SH SYNOPSIS\n.B ${text(usage)}\n.SH DESCRIPTION\n${headed(rest)}.SH SEE ALSO\n.BR objtree (1)\n`,
    )
  }
  return pages
}

const title = (name: string): string => `.TH ${text(name.toUpperCase())} 1\n`

/** What is said of a command, under the headings that manual pages have. */
function headed(markdown: string): string {
  return body(
    markdown
      .replace(/^\| \| \|$/m, '.SH OPTIONS')
      .replace(/^```console$/m, '.SH EXAMPLES\n```console')
      .replace(/^```ts$/m, '.SH JSON\n```ts'),
  )
}

/** Paragraphs, lists, tables and blocks of code; nothing else is in that file. */
function body(markdown: string): string {
  const parts = markdown.split(/^```\w*\n([\s\S]*?)^```$/m)
  return parts
    .map((part, i) => (i % 2 === 1 ? `.PP\n.nf\n${lines(part)}\n.fi\n` : prose(part)))
    .join('')
    .replace(/^\.PP\n/, '')
    .replace(/^(\.SH .*\n)\.PP\n/gm, '$1')
}

function prose(markdown: string): string {
  return markdown
    .split('\n')
    .filter(line => line !== '' && !/^\|[ -]*\|[ -|]*$/.test(line))
    .map(line => {
      if (line.startsWith('.SH ')) return `${line}\n`
      const [, term, meaning] = /^\| (.*?) \| (.*) \|$/.exec(line) ?? []
      if (term !== undefined) return `.TP\n${inline(term)}\n${inline(meaning as string)}\n`
      return line.startsWith('- ') ? `.IP \\(bu 2\n${inline(line.slice(2))}\n` : `.PP\n${inline(line.trim())}\n`
    })
    .join('')
}

const lines = (code: string): string => code.trimEnd().split('\n').map(text).join('\n')

/** Code and emphasis are bold, links their text. */
function inline(markdown: string): string {
  const pieces = markdown
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll('\\|', '|')
    .split(/\*\*(.*?)\*\*|`([^`]*)`|\*(.*?)\*/)
    .filter(piece => piece !== undefined)
  return text(pieces.map((piece, i) => (i % 2 === 1 ? `\u0001${piece}\u0002` : piece)).join(''))
    .replaceAll('\u0001', '\\fB')
    .replaceAll('\u0002', '\\fR')
}

/** Text that troff does not take for requests. */
function text(plain: string): string {
  return plain
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(\.|')/, '\\&$1')
}
