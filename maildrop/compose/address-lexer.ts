/**
 * The words and signs of an address list (RFC 5322 §3.2), read from text with values in it.
 *
 * Text is syntax, a value is data: whatever a value holds, it is (part of) one word and never a sign. Comments and
 * white space separate words and are dropped. Control characters, unclosed quotes, comments and literals are refused.
 */
import { ComposeError } from './errors.ts'
import { type HeaderPart, shown } from './header-parts.ts'

export type Token =
  | { readonly kind: 'sign'; readonly sign: string; readonly at: number }
  | { readonly kind: 'word'; readonly parts: readonly HeaderPart[]; readonly quoted: boolean; readonly at: number }
  | { readonly kind: 'literal'; readonly text: string; readonly at: number }

/** A sign, or what stands between two. */
const PIECES = /[ \t"()<>,:;@[\]\\]|[^ \t"()<>,:;@[\]\\]+/g
const SIGNS = ' \t"()<>,:;@[]\\'
const CONTROL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/

/**
 * The places of tokens (`at`) are those of their pieces; `characterAt` tells the character.
 * @param where the header's or parameter's name, for errors
 * @throws {ComposeError} BAD_ADDRESS with the position
 */
export function readTokens(parts: readonly HeaderPart[], where: string): Token[] {
  const tokens: Token[] = []
  const input = piecesOf(parts)
  let at = 0
  let word: HeaderPart[] = []

  const refuse = (piece: number, why: string, within = 0) =>
    new ComposeError(
      'BAD_ADDRESS',
      `${where}: ${why} at character ${characterAt(parts, piece) + within} of ${shown(parts)}`,
    )
  const checkControl = (piece: HeaderPart) => {
    const found = typeof piece === 'string' ? CONTROL.exec(piece) : null
    if (found) throw refuse(at, 'a control character', [...found.input.slice(0, found.index)].length)
  }

  const endWord = () => {
    if (word.length > 0) tokens.push({ kind: 'word', parts: word, quoted: false, at: at - word.length })
    word = []
  }

  /** Reads up to `close`, with backslash escapes; comments nest. */
  const readUntil = (close: string, name: string): HeaderPart[] => {
    const start = at
    const content: HeaderPart[] = []
    let depth = 1
    for (at += 1; at < input.length; at++) {
      let piece = input[at]!
      if (piece === close) depth -= 1
      else if (piece === '(' && close === ')') depth += 1
      if (depth === 0) return content
      if (piece === '\\') {
        at += 1
        piece = input[at] ?? ''
      }
      checkControl(piece)
      content.push(piece)
    }
    throw refuse(start, `${name} that is not closed,`)
  }

  for (; at < input.length; at++) {
    const piece = input[at]!
    if (typeof piece === 'string' && piece.length === 1 && SIGNS.includes(piece)) {
      endWord()
      const start = at
      if (piece === ' ' || piece === '\t') continue
      if (piece === '"') tokens.push({ kind: 'word', parts: readUntil('"', 'a quoted text'), quoted: true, at: start })
      else if (piece === '(') readUntil(')', 'a comment')
      else if (piece === '[') {
        const text = readUntil(']', 'an address literal')
        if (text.some(part => typeof part !== 'string')) throw refuse(start, 'a value inside [ ]')
        tokens.push({ kind: 'literal', text: `[${text.join('')}]`, at: start })
      } else if (piece === ')' || piece === ']' || piece === '\\') throw refuse(at, `'${piece}' out of place`)
      else tokens.push({ kind: 'sign', sign: piece, at })
    } else {
      checkControl(piece)
      word.push(piece)
    }
  }
  endWord()
  return tokens
}

/** The character, counted from 1, at which a piece begins; a value counts as one. */
export function characterAt(parts: readonly HeaderPart[], piece: number): number {
  const before = piecesOf(parts).slice(0, piece)
  return before.reduce((sum: number, each) => sum + (typeof each === 'string' ? [...each].length : 1), 1)
}

function piecesOf(parts: readonly HeaderPart[]): HeaderPart[] {
  return parts.flatMap((part): HeaderPart[] => (typeof part === 'string' ? (part.match(PIECES) ?? []) : [part]))
}
