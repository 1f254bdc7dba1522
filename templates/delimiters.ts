/**
 * `<< >>` beside `{{ }}`: turns the tags into Handlebars' own, character for character, so that places stay the author's.
 *
 * A tag is `<<`, not part of a longer run of `<`, followed on the spot by one of
 *
 *     name …          a path such as user.name, ../name, @index, this, [a b]; on one line. A blank before the name
 *                     and one before the >> go together: <<name>> and << name >> are tags, <<name >> is text.
 *     #name … /name ^name ^ else #>name >name #*inline       may span lines; nothing stands between << and the sign
 *     &name           as <<<name>>>: not escaped
 *     ! comment       to the next >>, unless a line break follows the sign;  !-- comment --  holds anything
 *
 * then words, paths, strings, numbers and ( ) = as Handlebars has them, then `>>`. `~` goes inside either delimiter.
 * `<<<name>>>` needs three on either side, `<<<<raw>>>> … <<<</raw>>>>` four and its end. All else is text and stays
 * byte for byte: `a << b`, `cout << x << endl;`, `cat <<EOF`, `1<<2>>3`, `<<p>`, `>> quoted`. `\<<` writes `<<`;
 * before a tag, `\\` writes one backslash, as in Handlebars.
 */

/** What Handlebars is to read, and how to get the author's text back from the text it found. */
export interface Rewritten {
  readonly source: string
  readonly restore: (text: string) => string
}

const WORD = /\s+|"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]])*\]|[^\s!"#%-,./;->@[-^`{-~]+|\.\.|[./@()=|]/y
const SIGN = /~?(?:!--|!|#>|#\*?|\/|\^|>|&|<|else\b)?/y
const NAME = /[\p{L}_$[]|@[\p{L}.]|\.{1,2}(?=[/\s~>])/uy

/** Rewrites the `<< >>` tags of `source`; the result has the same length and the same line breaks. */
export function rewriteDelimiters(source: string): Rewritten {
  const hidden = unusedCharacters(source)
  const out = source.split('')
  const hide = (at: number) => {
    const character = hidden.get(source[at] ?? '')
    if (character !== undefined) out[at] = character
  }
  const replace = (start: number, end: number, from: string, to: string) => {
    for (let at = start; at < end; at++) if (source[at] === from) out[at] = to
  }

  for (let at = 0; at < source.length; ) {
    if (source.startsWith('{{', at)) {
      at = isEscaped(source, at) ? at + 2 : endOfHandlebarsTag(source, at)
      continue
    }
    if (!source.startsWith('<<', at)) {
      at += 1
      continue
    }
    const run = match(/<+/y, source, at).length
    if (isEscaped(source, at)) hide(at - 1)
    const tags = isEscaped(source, at) ? undefined : readTag(source, at, run)
    if (tags === undefined) {
      at += run
      continue
    }
    for (const { start, open, close, end } of tags) {
      replace(start, open, '<', '{')
      if (match(/<<~?!/y, source, start) !== '') replace(open, close, '}', ' ')
      replace(close, end, '>', '}')
      // a brace of the text beside a tag would make one of three braces of it
      if (source[start - 1] === '{') hide(start - 1)
      if (source[end] === '}') hide(end)
      at = end
    }
  }
  const shown = new Map([...hidden].map(([character, stand]) => [stand, character === '\\' ? '' : character]))
  return {
    source: out.join(''),
    restore: text => text.replace(/[\ue000-\uf8ff]/g, character => shown.get(character) ?? character),
  }
}

/** One tag: its delimiters are from `start` to `open` and from `close` to `end`. */
interface Tag {
  readonly start: number
  readonly open: number
  readonly close: number
  readonly end: number
}

/** The tag that begins at `start` (with its end tag, for a raw block), or undefined for text. */
function readTag(source: string, start: number, run: number): Tag[] | undefined {
  if (run === 4) return readRawBlock(source, start)
  if (run === 3) return simple(source, readExpression(source, start, start + 3, />>>/y))
  if (run !== 2) return undefined
  const sign = match(SIGN, source, start + 2)
  const open = start + 2 + sign.length
  switch (sign.replace('~', '')) {
    case '!--':
      return readComment(source, start, open, /--~?(?:>>|\}\})/g)
    case '!':
      return /[\r\n]/.test(source[open] ?? '\n') ? undefined : readComment(source, start, open, />>/g)
    case '<':
      return simple(source, readExpression(source, start, open, />~>>/y))
    case '':
    case '&':
      return simple(source, readExpression(source, start, open, /~?>>/y))
    case '^':
    case 'else':
      return list(readExpression(source, start, open, /~?>>/y))
    default: {
      const tag = readExpression(source, start, open, /~?>>/y)
      return tag && /[^\s]/.test(source.slice(open, tag.close)) ? [tag] : undefined
    }
  }
}

/** A tag that has to begin with a name and to stand on one line, evenly spaced. */
function simple(source: string, tag: Tag | undefined): Tag[] | undefined {
  if (tag === undefined) return undefined
  const inside = source.slice(tag.open, tag.close)
  const even = /^\s/.test(inside) === /\s$/.test(inside)
  const named = match(NAME, source, tag.open + match(/\s*/y, source, tag.open).length) !== ''
  return even && named && !/[\r\n]/.test(inside) ? [tag] : undefined
}

function readExpression(source: string, start: number, open: number, end: RegExp): Tag | undefined {
  for (let at = open; at < source.length; ) {
    const close = match(end, source, at)
    if (close !== '') return { start, open, close: at, end: at + close.length }
    const word = match(WORD, source, at)
    if (word === '') return undefined
    at += word.length
  }
  return undefined
}

function readComment(source: string, start: number, open: number, end: RegExp): Tag[] | undefined {
  end.lastIndex = open
  const found = end.exec(source)
  if (found === null) return undefined
  const plain = !found[0].startsWith('-')
  if (plain && source.slice(open, found.index).includes('<<')) return undefined
  return [{ start, open, close: found.index, end: found.index + found[0].length }]
}

function readRawBlock(source: string, start: number): Tag[] | undefined {
  const opening = readExpression(source, start, start + 4, />>>>/y)
  if (opening === undefined) return undefined
  const name = match(/[^\s!"#%-,./;->@[-^`{-~]+/y, source, opening.open + match(/\s*/y, source, opening.open).length)
  const ends = [`<<<</${name}>>>>`, `{{{{/${name}}}}}`]
    .map(end => source.indexOf(end, opening.end))
    .filter(at => at >= 0)
  if (name === '' || ends.length === 0) return undefined
  const at = Math.min(...ends)
  return [opening, { start: at, open: at + 4, close: at + 5 + name.length, end: at + 9 + name.length }]
}

/** Where a tag of Handlebars' own ends, so that nothing inside it is taken for one of ours. */
function endOfHandlebarsTag(source: string, start: number): number {
  const [, comment, raw] =
    /^\{\{(?:~?!(--)?|\{\{\s*([^\s!"#%-,./;->@[-^`{-~]+))/.exec(source.slice(start, start + 200)) ?? []
  const end = raw !== undefined ? `{{{{/${raw}}}}}` : undefined
  if (end !== undefined) return after(source, start, end)
  if (/^\{\{~?!/.test(source.slice(start, start + 4)))
    return match(comment ? /[\s\S]*?--~?\}\}/y : /[\s\S]*?\}\}/y, source, start).length + start || source.length
  const sign = match(/\{\{~?(?:#>|#\*?|\/|\^|>|&|\{|\*)?/y, source, start)
  return readExpression(source, start, start + sign.length, /\}?~?\}\}/y)?.end ?? start + 2
}

function after(source: string, start: number, end: string): number {
  const at = source.indexOf(end, start)
  return at < 0 ? source.length : at + end.length
}

/** True for what follows exactly one backslash. */
function isEscaped(source: string, at: number): boolean {
  return source[at - 1] === '\\' && source[at - 2] !== '\\'
}

function match(pattern: RegExp, source: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(source)?.[0] ?? ''
}

function list(tag: Tag | undefined): Tag[] | undefined {
  return tag && [tag]
}

/** Characters (of Unicode's private use area) that do not occur in the source, to stand for those Handlebars would misread. */
function unusedCharacters(source: string): Map<string, string> {
  const used = new Set(source)
  const free: string[] = []
  for (let code = 0xe000; free.length < 3 && code < 0xf900; code++) {
    const character = String.fromCharCode(code)
    if (!used.has(character)) free.push(character)
  }
  return new Map(['\\', '{', '}'].map((character, i) => [character, free[i] ?? character]))
}
