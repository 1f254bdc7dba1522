/**
 * The lines of what was rendered inside a sendmail block: text of the template, values, and parts of the message.
 */
import { type Place, TemplateError } from './errors.ts'
import { escapeHtml, isEmbedded, isSafeText, type Piece, textOf } from './output.ts'

export type Line = Piece[]

/** The lines of a rendered block; only its text breaks them. */
export function splitLines(parts: readonly Piece[]): Line[] {
  const lines: Line[] = [[]]
  for (const part of parts) {
    const [first, ...more] = typeof part === 'string' ? part.split(/\r?\n/) : [part]
    lines.at(-1)!.push(first!)
    for (const line of more) lines.push([line])
  }
  return lines.map(joinText)
}

function joinText(line: Line): Line {
  const joined: Line = []
  for (const part of line) {
    if (part === '') continue
    const last = joined.at(-1)
    if (typeof part === 'string' && typeof last === 'string') joined[joined.length - 1] = last + part
    else joined.push(part)
  }
  return joined
}

/** The lines without the indentation of the first, if there is one. */
export function withoutIndent(lines: Line[]): Line[] {
  const first = lines[0]?.[0]
  const indent = typeof first === 'string' ? (/^[ \t]*/.exec(first)?.[0] ?? '') : ''
  if (indent === '' || isBlank(lines[0]!)) return lines
  return lines.map(([start, ...rest]) =>
    typeof start === 'string' && start.startsWith(indent)
      ? [start.slice(indent.length), ...rest]
      : start === undefined
        ? []
        : [start, ...rest],
  )
}

export function isBlank(line: Line): boolean {
  return line.every(part => typeof part === 'string' && part.trim() === '')
}

/**
 * The text of a piece of a body of that type.
 * @param block where the block that holds it stands
 * @throws {TemplateError} TEMPLATE_RENDER
 */
export function bodyText(piece: Piece, type: string, block: Place): string {
  if (typeof piece === 'string') return piece
  if (isEmbedded(piece))
    throw new TemplateError(
      'TEMPLATE_RENDER',
      block,
      'a mime block is the whole body; put the text beside it into a part',
    )
  const { value, raw, place } = piece
  if (/^\s*(?:multipart|message)\//i.test(type))
    throw new TemplateError(
      'TEMPLATE_RENDER',
      place,
      `sendmail: a value in a ${type.split('/')[0]?.trim()} body could add parts to it; call send of the mail host with a message object instead`,
    )
  const text = textOf(value, what => new TemplateError('TEMPLATE_RENDER', place, what))
  return /html/i.test(type) && !raw && !isSafeText(value) ? escapeHtml(text) : text
}
