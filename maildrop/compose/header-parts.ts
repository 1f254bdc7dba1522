/**
 * A header as its author wrote it, with values in it.
 *
 * The same idea as the parameters of a prepared statement: text is syntax, a value is data and stays data, whatever
 * it holds. Composing decides by the kind of the header what a value may be and how it is written.
 */
import { ComposeError } from './errors.ts'

/** A piece of a header: the author's text, or a value put into it. */
export type HeaderPart = string | { readonly value: unknown }

/**
 * The text of a value: of a string, number, boolean, bigint or Date (RFC 3339); nothing for null and undefined.
 * @throws {ComposeError} BAD_HEADER for anything else
 */
export function valueText(value: unknown, where: string): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint') return String(value)
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString()
  const found = Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'an object' : `a ${typeof value}`
  throw new ComposeError('BAD_HEADER', `${where}: expected a value that is text or a number, found ${found}`)
}

/** What was written, for an error message: quoted, all but visible characters escaped, values as `…`, at most 200 characters. */
export function shown(parts: readonly HeaderPart[]): string {
  const text = parts.map(part => (typeof part === 'string' ? part : '…')).join('')
  const quoted = JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text)
  return quoted.replace(/[\p{C}\u2028\u2029]/gu, char => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)
}
