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

/**
 * @param where the header's or parameter's name, for errors
 * @throws {ComposeError} BAD_ADDRESS with the position
 */
export function readTokens(parts: readonly HeaderPart[], where: string): Token[] {
  const tokens: Token[] = []
  const input = parts.flatMap((part): HeaderPart[] => (typeof part === 'string' ? [...part] : [part]))
  let at = 0
  let word: HeaderPart[] = []

  const refuse = (position: number, why: string) =>
    new ComposeError('BAD_ADDRESS', `${where}: ${why} at character ${position + 1} of ${shown(parts)}`)

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
      let char = input[at]!
      if (char === close) depth -= 1
      else if (char === '(' && close === ')') depth += 1
      if (depth === 0) return content
      if (char === '\\') {
        at += 1
        char = input[at] ?? ''
      }
      if (isControl(char)) throw refuse(at, 'a control character')
      content.push(char)
    }
    throw refuse(start, `${name} that is not closed,`)
  }

  for (; at < input.length; at++) {
    const char = input[at]!
    if (typeof char === 'string' && ' \t"()<>,:;@[]\\'.includes(char)) {
      endWord()
      const start = at
      if (char === ' ' || char === '\t') continue
      if (char === '"') tokens.push({ kind: 'word', parts: readUntil('"', 'a quoted text'), quoted: true, at: start })
      else if (char === '(') readUntil(')', 'a comment')
      else if (char === '[') {
        const text = readUntil(']', 'an address literal')
        if (text.some(part => typeof part !== 'string')) throw refuse(start, 'a value inside [ ]')
        tokens.push({ kind: 'literal', text: `[${text.join('')}]`, at: start })
      } else if (char === ')' || char === ']' || char === '\\') throw refuse(at, `'${char}' out of place`)
      else tokens.push({ kind: 'sign', sign: char, at })
    } else {
      if (isControl(char)) throw refuse(at, 'a control character')
      word.push(char)
    }
  }
  endWord()
  return tokens
}

function isControl(char: HeaderPart): boolean {
  return typeof char === 'string' && /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/.test(char)
}
