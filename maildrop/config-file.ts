/**
 * Reads files of `KEY="value"` lines, which a shell can read too (`. maildrop/config`), with the same result.
 *
 * No blanks around `=`; values in double quotes (with `\" \\ \$` and `` \` `` as escapes), in single quotes, or bare; `#`
 * begins a comment; `export` may stand before the key. What a shell would expand or run is refused, not guessed at.
 */
import { MaildropError } from './errors.ts'

/** One line of the file: `where` is `file:line`, for messages. */
export interface Assignment {
  readonly key: string
  readonly value: string
  readonly where: string
}

const LINE =
  /^(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|'[^']*'|[^\s"'#;&|<>()$`\\]*)[ \t]*(?:[ \t]#.*)?$/

/**
 * @param name the file's name, for messages
 * @throws {MaildropError} CONFIG_INVALID naming file and line
 */
export function parseConfigFile(text: string, name: string): Assignment[] {
  const found: Assignment[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const where = `${name}:${index + 1}`
    const [, key, quoted] = LINE.exec(line) ?? []
    if (key === undefined || quoted === undefined) {
      // Only a key is quoted back: the rest may be a password.
      const about = /^(?:export[ \t]+)?([A-Za-z_]+)[ \t]*=/.exec(line)?.[1]
      throw invalid(
        where,
        `${about === undefined ? 'this' : `the line of ${about}`} is not an assignment; expected KEY="value", no blanks around =, quotes around what is not plain`,
      )
    }
    found.push({ key, value: unquote(quoted, key, where), where })
  }
  return found
}

function unquote(quoted: string, key: string, where: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1)
  if (!quoted.startsWith('"')) return quoted
  const inner = quoted.slice(1, -1)
  if (/[$`]/.test(inner.replace(/\\./g, ''))) {
    throw invalid(
      where,
      `the value of ${key} contains a $ or a \` that a shell would expand; write \\$ or \\\`, or use single quotes`,
    )
  }
  return inner.replace(/\\(["\\$`])/g, '$1')
}

function invalid(where: string, problem: string): MaildropError {
  return new MaildropError('CONFIG_INVALID', `${where}: ${problem}`)
}
