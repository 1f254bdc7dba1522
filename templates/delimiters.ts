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
 * byte for byte: `a << b`, `cout << x << endl;`, `cat <<EOF`, `1<<2>>3`, `<<p>`, `<<>->>`, `>> quoted`. `\<<` writes `<<`;
 * before a tag, `\\` writes one backslash, as in Handlebars.
 *
 * The time taken grows with the length of the text, whatever is in it: a search that fails stops at the next `<<`, or
 * is not made again. Handlebars' own parser is slow for deep nesting and for many `!--` comments; so the one is limited
 * here, and comments are blanked.
 */

/** What Handlebars is to read, and how to get the author's text back from the text it found. */
export interface Rewritten {
  readonly source: string
  readonly restore: (text: string) => string
}

const WORD =
  /\s+|"(?:\\"|[^"])*"|'(?:\\'|[^'])*'|\[(?:\\\]|[^\]<{]|<(?!<)|\{(?!\{))*\]|[^\s!"#%-,./;->@[-^`{-~]+|\.\.|[./@()=|]/y
const SIGN = /~?(?:!--|!|#>|#\*?|\/|\^|>|&|<|else\b)?/y
const NAME = /[\p{L}_$[]|@[\p{L}.]|\.{1,2}(?=[/\s~>])/uy
/** What may stand after one of the signs # / ^ > with a name. */
const SIGNED_NAME = /\s*[\p{L}_$@.["'(]/uy
const RAW_END = /<<<<\/([^\s!"#%-,./;->@[-^`{-~]+)>>>>|\{\{\{\{\/([^\s!"#%-,./;->@[-^`{-~]+)\}\}\}\}/g

/** How deep blocks (an `else if` is one in its block), and sub-expressions in a tag, may be nested. */
const DEEPEST = 100

/**
 * Rewrites the `<< >>` tags of `source`; the result has the same length and the same line breaks.
 * @param refuse makes the error for what stands at that index
 */
export function rewriteDelimiters(source: string, refuse: (at: number, what: string) => Error): Rewritten {
  const hidden = unusedCharacters(source)
  const ends = new Ends(source)
  const depth = new Depth(refuse)
  const out = source.split('')
  const hide = (at: number) => {
    const character = hidden.get(source[at] ?? '')
    if (character !== undefined) out[at] = character
  }
  const replace = (start: number, end: number, pattern: RegExp, to: string) => {
    for (let at = start; at < end; at++) if (pattern.test(source[at] ?? '')) out[at] = to
  }

  for (let at = 0; at < source.length; ) {
    const brace = source.startsWith('{{', at)
    if (!brace && !source.startsWith('<<', at)) {
      at += 1
      continue
    }
    const run = brace ? 2 : match(/<+/y, source, at).length
    const escaped = isEscaped(source, at)
    if (escaped && !brace) hide(at - 1)
    const tags = escaped ? [] : brace ? readHandlebarsTag(source, at) : readTag(source, at, run, ends)
    if (tags.length === 0) at += run
    for (const { start, open, close, end, comment } of tags) {
      if (comment) replace(open, close, /[^\r\n]/, ' ')
      else if (open < close) depth.see(source.slice(start, end), start)
      if (!brace) {
        replace(start, open, /</, '{')
        replace(close, end, />/, '}')
        // a brace of the text beside a tag would make one of three braces of it
        if (source[start - 1] === '{') hide(start - 1)
        if (source[end] === '}') hide(end)
      }
      at = end
    }
  }
  for (let at = source.indexOf('\0'); at >= 0; at = source.indexOf('\0', at + 1)) hide(at)
  const shown = new Map([...hidden].map(([character, stand]) => [stand, character === '\\' ? '' : character]))
  return {
    source: out.join(''),
    restore: text => text.replace(/[\ue000-\uf8ff]/g, character => shown.get(character) ?? character),
  }
}

/** Follows how deep the tags are nested. */
class Depth {
  readonly #refuse: (at: number, what: string) => Error
  readonly #blocks: number[] = []
  #depth = 0

  constructor(refuse: (at: number, what: string) => Error) {
    this.#refuse = refuse
  }

  see(tag: string, at: number): void {
    if (/^..~?\//.test(tag)) this.#depth -= this.#blocks.pop() ?? 0
    else if (/^..~?(?:#|\^\s*[^\s~}>])/.test(tag)) this.#enter(1)
    else if (/^..~?\s*else\s+[^\s~}>]/.test(tag)) this.#enter((this.#blocks.pop() ?? 0) + 1)
    if (this.#depth > DEEPEST) throw this.#refuse(at, `more than ${DEEPEST} blocks inside each other`)
    let open = 0
    for (const [sign] of tag.matchAll(/[()]/g)) {
      open += sign === '(' ? 1 : -1
      if (open > DEEPEST) throw this.#refuse(at, `more than ${DEEPEST} sub-expressions inside each other`)
    }
  }

  #enter(levels: number): void {
    this.#blocks.push(levels)
    this.#depth += 1
  }
}

/** Where the last comments and raw blocks of a source end, so that none is looked for behind them. */
class Ends {
  readonly #source: string
  #lastComment: number | undefined
  #lastRaw: Map<string, number> | undefined

  constructor(source: string) {
    this.#source = source
  }

  /** The first `--` with delimiters after it. */
  comment(from: number): RegExpExecArray | undefined {
    this.#lastComment ??= Math.max(...['-->>', '--~>>', '--}}', '--~}}'].map(end => this.#source.lastIndexOf(end)))
    return from > this.#lastComment ? undefined : search(/(--)~?(?:>>|\}\})/g, this.#source, from)
  }

  /** Where the end tag of the raw block of that name begins. */
  raw(name: string, from: number): number | undefined {
    this.#lastRaw ??= new Map([...this.#source.matchAll(RAW_END)].map(end => [end[1] ?? end[2] ?? '', end.index]))
    if (from > (this.#lastRaw.get(name) ?? -1)) return undefined
    const found = [`<<<</${name}>>>>`, `{{{{/${name}}}}}`].map(end => this.#source.indexOf(end, from))
    return Math.min(...found.filter(at => at >= 0))
  }
}

/** One tag: its delimiters are from `start` to `open` and from `close` to `end`. */
interface Tag {
  readonly start: number
  readonly open: number
  readonly close: number
  readonly end: number
  readonly comment?: true
}

/** The tag that begins at `start`, with its end tag for a raw block; none for text. */
function readTag(source: string, start: number, run: number, ends: Ends): Tag[] {
  if (run === 4) return readRawBlock(source, start, ends)
  if (run === 3) return simple(source, readExpression(source, start, start + 3, />>>/y))
  if (run !== 2) return []
  const sign = match(SIGN, source, start + 2)
  const open = start + 2 + sign.length
  switch (sign.replace('~', '')) {
    case '!--':
      return comment(start, open - 2, ends.comment(open - 2))
    case '!': {
      const end = /[\r\n]/.test(source[open] ?? '\n') ? undefined : search(/<<|~?>>/g, source, open)
      return end && end[0] !== '<<' ? comment(start, open, end) : []
    }
    case '<':
      return simple(source, readExpression(source, start, open, />~>>/y))
    case '':
    case '&':
      return simple(source, readExpression(source, start, open, /~?>>/y))
    case '^':
    case 'else':
      return readExpression(source, start, open, /~?>>/y)
    default:
      return match(SIGNED_NAME, source, open) ? readExpression(source, start, open, /~?>>/y) : []
  }
}

/** A tag that has to begin with a name and to stand on one line, evenly spaced. */
function simple(source: string, [tag]: Tag[]): Tag[] {
  if (tag === undefined) return []
  const inside = source.slice(tag.open, tag.close)
  const even = /^\s/.test(inside) === /\s$/.test(inside)
  const named = match(NAME, source, tag.open + match(/\s*/y, source, tag.open).length) !== ''
  return even && named && !/[\r\n]/.test(inside) ? [tag] : []
}

function readExpression(source: string, start: number, open: number, end: RegExp): Tag[] {
  for (let at = open; at < source.length; ) {
    const close = match(end, source, at)
    if (close !== '') return [{ start, open, close: at, end: at + close.length }]
    const word = match(WORD, source, at)
    if (word === '') return []
    at += word.length
  }
  return []
}

function comment(start: number, open: number, end: RegExpExecArray | undefined): Tag[] {
  if (end === undefined) return []
  const [closing, dashes = ''] = end
  return [{ start, open, close: end.index + dashes.length, end: end.index + closing.length, comment: true }]
}

function readRawBlock(source: string, start: number, ends: Ends): Tag[] {
  const [opening] = readExpression(source, start, start + 4, />>>>/y)
  if (opening === undefined) return []
  const name = match(/[^\s!"#%-,./;->@[-^`{-~]+/y, source, opening.open + match(/\s*/y, source, opening.open).length)
  const at = ends.raw(name, opening.end)
  if (at === undefined) return []
  return [opening, { start: at, open: at + 4, close: at + 5 + name.length, end: at + 9 + name.length }]
}

/** The tag of Handlebars' own that begins at `start`; nothing inside it is one of ours. To the end for one without an end. */
function readHandlebarsTag(source: string, start: number): Tag[] {
  const rest = { start, open: source.length, close: source.length, end: source.length }
  const raw = match(/\{\{\{\{\s*[^\s!"#%-,./;->@[-^`{-~]+/y, source, start)
    .slice(4)
    .trimStart()
  if (raw !== '') return [{ ...rest, end: after(source, start, `{{{{/${raw}}}}}`) }]
  const sign = match(/\{\{~?(?:!(?:--)?|#>|#\*?|\/|\^|>|&|\{|\*)?/y, source, start)
  const open = start + sign.length
  if (sign.endsWith('!--')) return found(comment(start, open - 2, search(/(--)~?\}\}/g, source, open - 2)), rest)
  if (sign.endsWith('!')) return found(comment(start, open, search(/~?\}\}/g, source, open)), rest)
  return readExpression(source, start, open, /\}?~?\}\}/y)
}

function found(tags: Tag[], otherwise: Tag): Tag[] {
  return tags.length > 0 ? tags : [otherwise]
}

function after(source: string, start: number, end: string): number {
  const at = source.indexOf(end, start)
  return at < 0 ? source.length : at + end.length
}

/** True for what follows exactly one backslash. */
function isEscaped(source: string, at: number): boolean {
  return source[at - 1] === '\\' && source[at - 2] !== '\\'
}

function search(pattern: RegExp, source: string, from: number): RegExpExecArray | undefined {
  pattern.lastIndex = from
  return pattern.exec(source) ?? undefined
}

function match(pattern: RegExp, source: string, at: number): string {
  pattern.lastIndex = at
  return pattern.exec(source)?.[0] ?? ''
}

/** Characters (of Unicode's private use area) that do not occur in the source, to stand for those Handlebars would misread. */
function unusedCharacters(source: string): Map<string, string> {
  const used = new Set(source)
  const free: string[] = []
  for (let code = 0xe000; free.length < 4 && code < 0xf900; code++) {
    const character = String.fromCharCode(code)
    if (!used.has(character)) free.push(character)
  }
  return new Map(['\\', '{', '}', '\0'].map((character, i) => [character, free[i] ?? character]))
}
