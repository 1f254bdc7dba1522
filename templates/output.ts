/**
 * Where rendering goes: a page of text, or a mail whose values are still apart from its text.
 *
 * A page escapes a value as it is inserted; a mail cannot, as only its headers and body tell what to do with it.
 */
import { type Place, TemplateError } from './errors.ts'
import { handlebars } from './handlebars.ts'
import type { Entity } from './mail-host.ts'

/** Text that is HTML already. Handlebars' SafeString is taken for it too. */
export class SafeText {
  private readonly html: string

  constructor(html: string) {
    this.html = html
  }

  toString(): string {
    return this.html
  }
}

export function isSafeText(value: unknown): value is SafeText {
  return value instanceof SafeText || value instanceof handlebars().SafeString
}

/** A value that a template put between its text. */
export interface Inserted {
  readonly value: unknown
  /** Asked for unescaped: <<<x>>> or <<&x>>. */
  readonly raw: boolean
  readonly place: Place
}

/** A part of a message, rendered: it stands where its block stood (see `mime.ts`). */
export interface Embedded {
  readonly entity: Entity
  readonly place: Place
}

export type Piece = string | Inserted | Embedded

export function isEmbedded(piece: Piece): piece is Embedded {
  return typeof piece === 'object' && 'entity' in piece
}

export interface Output {
  write(text: string): void
  insert(inserted: Inserted): void
  embed(embedded: Embedded): void
  /** An empty output of the same kind. */
  fresh(): Output
  /** Appends what was written to `inner`, with `indent` before each of its lines (as Handlebars indents a partial). */
  append(inner: Output, indent: string): void
  readonly parts: readonly Piece[]
}

/** @param escapeText applied to the text of values that are to be escaped */
export function pageOutput(escapeText: (text: string) => string): Output {
  return output(({ value, raw, place }) => {
    const text = textOf(value, what => new TemplateError('TEMPLATE_RENDER', place, what))
    return raw || isSafeText(value) ? text : escapeText(text)
  })
}

export function mailOutput(): Output {
  return output(inserted => inserted)
}

function output(convert: (inserted: Inserted) => string | Inserted): Output {
  const parts: Piece[] = []
  return {
    parts,
    write: text => parts.push(text),
    insert: inserted => parts.push(convert(inserted)),
    embed: embedded => parts.push(embedded),
    fresh: () => output(convert),
    append(inner, indent) {
      parts.push(...(indent === '' ? inner.parts : indented(inner.parts, indent)))
    },
  }
}

/** Puts `indent` at the beginning of every line, but not after a last line break. */
function indented(parts: readonly Piece[], indent: string): Piece[] {
  let atStart = true
  return parts.flatMap(part => {
    const first = atStart && part !== '' ? [indent] : []
    if (typeof part !== 'string') {
      atStart = false
      return [...first, part]
    }
    if (part !== '') atStart = part.endsWith('\n')
    return [...first, part.replace(/\n(?=[\s\S])/g, `\n${indent}`)]
  })
}

/** Escapes text for HTML, in text and in quoted attributes. */
export function escapeHtml(text: string): string {
  return handlebars().escapeExpression(text)
}

/**
 * The text of a value: nothing for null and undefined; of an array, its texts with commas between.
 * @param refuse makes the error for an object or a function, which have none
 */
export function textOf(value: unknown, refuse: (what: string) => Error): string {
  if (value === undefined || value === null) return ''
  if (Array.isArray(value)) return value.map(one => textOf(one, refuse)).join(',')
  if (isSafeText(value) || value instanceof Date) return value.toString()
  if (typeof value === 'object')
    throw refuse(
      `expected text, found an object with ${Object.keys(value).slice(0, 8).join(', ') || 'no attributes'}; name the attribute to write`,
    )
  if (typeof value === 'function' || typeof value === 'symbol') throw refuse(`expected text, found a ${typeof value}`)
  return String(value)
}
