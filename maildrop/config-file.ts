/**
 * Reads files of `KEY="value"` lines, which a shell can read too (`. maildrop/config`), with the same result.
 *
 * No blanks around `=`; values in double quotes (with `\" \\ \$` and `` \` `` as escapes), in single quotes, or bare; `#`
 * begins a comment; `export` may stand before the key. What a shell would expand or run is refused, not guessed at.
 */
import type { Problem } from './errors.ts'

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
 * @param problems gets what is wrong, naming file and line; such a line is left out
 */
export function parseConfigFile(text: string, name: string, problems: Problem[]): Assignment[] {
  const found: Assignment[] = []
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.trim()
    if (line === '' || line.startsWith('#')) continue
    const where = `${name}:${index + 1}`
    const [, key, quoted] = LINE.exec(line) ?? []
    if (key === undefined || quoted === undefined) {
      if (line.includes('\0')) {
        problems.push({ where, text: 'a byte of zero, so this is no text in UTF-8; nothing behind it is read' })
        return found
      }
      // Only a key is quoted back: the rest may be a password.
      const about = /^(?:export[ \t]+)?([A-Za-z_]+)[ \t]*=/.exec(line)?.[1]
      problems.push({
        where,
        key: about,
        text: `${about === undefined ? 'this' : `the line of ${about}`} is not an assignment; expected KEY="value", no blanks around =, quotes around what is not plain`,
      })
      continue
    }
    const value = unquoted(quoted)
    if (value !== undefined) found.push({ key, value, where })
    else
      problems.push({
        where,
        key,
        text: `the value of ${key} contains a $ or a \` that a shell would expand; write \\$ or \\\`, or use single quotes`,
      })
  }
  return found
}

/** Undefined if a shell would expand something. */
function unquoted(quoted: string): string | undefined {
  if (quoted.startsWith("'")) return quoted.slice(1, -1)
  if (!quoted.startsWith('"')) return quoted
  const inner = quoted.slice(1, -1)
  if (/[$`]/.test(inner.replace(/\\./g, ''))) return undefined
  return inner.replace(/\\(["\\$`])/g, '$1')
}
