/**
 * From an author's source to a checked syntax tree.
 *
 * What can be known without data is refused here, with its place: syntax, helpers that do not exist, and everything
 * about a sendmail block that is written in it. Nothing of a template is ever compiled to JavaScript.
 */
import { type Block, type Call, isBareName, type Located, nameOf, type Program, type Statement } from './ast.ts'
import { attributeFault, type Fault } from './attributes.ts'
import { helper, isHelper } from './builtins.ts'
import { rewriteDelimiters } from './delimiters.ts'
import { type Place, TemplateError } from './errors.ts'
import { handlebars } from './handlebars.ts'
import { ATTACH, checkAttach, checkMimeBlock, MIME, PART } from './mime.ts'
import { checkSendmail, SENDMAIL } from './sendmail.ts'

/** Sources kept parsed, for all connections and callers, and the number of characters they may have together. */
const KEPT = { sources: 500, characters: 4_000_000 }
const kept = new Map<string, Program>()
let keptCharacters = 0

/**
 * The syntax tree of a source; one that was read lately is not read again.
 * @throws {TemplateError} TEMPLATE_SYNTAX, NO_MAIL_HOST
 */
export function parseTemplate(source: string, file: string): Program {
  const known = kept.get(source)
  const program = known ?? readTemplate(source, file)
  if (known === undefined) keptCharacters += source.length
  else kept.delete(source)
  kept.set(source, program)
  for (const [oldest] of kept) {
    if (kept.size <= KEPT.sources && keptCharacters <= KEPT.characters) break
    kept.delete(oldest)
    keptCharacters -= oldest.length
  }
  return program
}

function readTemplate(source: string, file: string): Program {
  const { source: rewritten, restore } = rewriteDelimiters(source, (at, what) => {
    return new TemplateError('TEMPLATE_SYNTAX', placeAt(source, at, file), what)
  })
  const program = parse(rewritten, file)
  checkProgram(program, { file, restore, inMail: false })
  return program
}

/** The place of a node. */
export function placeOf({ loc }: Located, file: string): Place {
  return { file, line: loc.start.line, column: loc.start.column + 1 }
}

/** The place of a character. */
function placeAt(source: string, at: number, file: string): Place {
  const lines = source.slice(0, at).split(/\r\n?|\n/)
  return { file, line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 }
}

interface Check {
  readonly file: string
  readonly restore: (text: string) => string
  /** Inside a sendmail block. */
  readonly inMail: boolean
}

function checkProgram(program: Program | undefined, check: Check): void {
  for (const statement of program?.body ?? []) checkStatement(statement, check)
}

function checkStatement(statement: Statement, check: Check): void {
  switch (statement.type) {
    case 'ContentStatement':
      statement.value = check.restore(statement.value)
      return
    case 'CommentStatement':
      return
    case 'MustacheStatement':
      checkCall(statement, check)
      return
    case 'BlockStatement':
      if (nameOf(statement.path) === SENDMAIL) {
        checkSendmailBlock(statement, check)
        checkProgram(statement.program, { ...check, inMail: true })
      } else if ([MIME, PART].includes(nameOf(statement.path)) && isBareName(statement.path)) {
        refuseFault(checkMimeBlock(nameOf(statement.path), statement), check)
        checkParams(statement, check)
        dropFirstBreak(statement)
        checkProgram(statement.program, check)
      } else {
        checkCall(statement, check)
        checkProgram(statement.program, check)
        checkProgram(statement.inverse, check)
      }
      return
    case 'DecoratorBlock':
      if (nameOf(statement.path) !== 'inline')
        throw syntaxError(statement, check, `there is no decorator '${nameOf(statement.path)}'; expected #*inline`)
      checkParams(statement, check)
      checkProgram(statement.program, check)
      return
    case 'PartialStatement':
    case 'PartialBlockStatement':
      if (statement.params.length > 1)
        throw syntaxError(statement, check, 'a partial takes one context, and name=value')
      checkParams(statement, check)
      if (statement.name.type === 'SubExpression') checkCall(statement.name, check)
      if (statement.type === 'PartialBlockStatement') checkProgram(statement.program, check)
      return
    default:
      throw syntaxError(statement, check, `'${(statement as Statement & { type: string }).type}' is not supported`)
  }
}

function checkSendmailBlock(block: Block, check: Check): void {
  if (check.inMail) throw syntaxError(block, check, 'a sendmail block inside a sendmail block')
  refuseFault(checkSendmail(block), check)
  checkParams(block, check)
  dropFirstBreak(block)
}

function refuseFault(fault: Fault | undefined, { file }: Check): void {
  if (fault) throw new TemplateError(fault.code, placeOf(fault.at, file), fault.what)
}

/** Whitespace control takes the line break after a tag that stands alone on its line; take it after any other as well. */
function dropFirstBreak({ program }: Block): void {
  const first = program?.body[0]
  if (first?.type === 'ContentStatement' && !first.rightStripped) first.value = first.value.replace(/^[ \t]*\r?\n/, '')
}

/** A call with arguments must be of a helper. */
function checkCall(call: Call & { type: string }, check: Check): void {
  const name = nameOf(call.path)
  const called = call.type === 'SubExpression' || call.params.length > 0 || (call.hash?.pairs.length ?? 0) > 0
  if (called && !(isBareName(call.path) && isHelper(name)))
    throw syntaxError(call, check, `there is no helper '${name}'`)
  if (name === SENDMAIL && isBareName(call.path))
    throw syntaxError(call, check, 'sendmail is a block: expected #sendmail')
  if (called && isBareName(call.path)) {
    if (name === MIME || name === PART) throw syntaxError(call, check, `${name} is a block: expected #${name}`)
    if (name === ATTACH) {
      if (call.type !== 'MustacheStatement')
        throw syntaxError(call, check, 'attach stands alone, as <<attach value>>, in a mime block')
      refuseFault(checkAttach(call), check)
    }
  }
  const attributes = called && isBareName(call.path) ? helper(name)?.attributes : undefined
  if (attributes)
    refuseFault(attributeFault(name, call.hash, Object.fromEntries(attributes.map(each => [each, undefined]))), check)
  checkParams(call, check)
}

function checkParams({ params, hash }: Pick<Call, 'params' | 'hash'>, check: Check): void {
  for (const expression of [...params, ...(hash?.pairs ?? []).map(pair => pair.value)])
    if (expression.type === 'SubExpression') checkCall(expression, check)
}

function syntaxError(at: Located, { file }: Check, what: string): TemplateError {
  return new TemplateError('TEMPLATE_SYNTAX', placeOf(at, file), what)
}

interface Lexer {
  readonly matched: string
  readonly match: string
  readonly yytext: string
  setInput(source: string): void
  lex(): number | false | undefined
}

interface Parser {
  readonly lexer: Lexer
  /** Names of tokens by number. */
  readonly terminals_: Readonly<Record<number, string>>
}

const parser = (): Parser => (handlebars() as unknown as { Parser: Parser }).Parser

function parse(source: string, file: string): Program {
  try {
    return handlebars().parse(source) as unknown as Program
  } catch (cause) {
    throw parseError(cause, source, file)
  }
}

/** Handlebars' error in our words; where it gives no place, its lexer stands at the faulty token. */
function parseError(cause: unknown, source: string, file: string): TemplateError {
  const { message, lineNumber, column } = cause as Error & { lineNumber?: number; column?: number }
  if (lineNumber !== undefined && column !== undefined) {
    const what = message
      .replace(/ - \d+:\d+$/, '')
      .replace(/^(\S+) doesn't match (\S+)$/, "the block '$1' is closed as '$2': expected /$1")
    return new TemplateError('TEMPLATE_SYNTAX', { file, line: lineNumber, column: column + 1 }, what, { cause })
  }
  const { matched, match } = parser().lexer
  const at = matched.length - match.length
  const open = openBlocks(source, at)
  const last = open.at(-1)
  if (match === '' && last !== undefined) {
    const what = `the block '${last.name}' is never closed: expected /${last.name} before the end of the template`
    return new TemplateError('TEMPLATE_SYNTAX', placeAt(source, last.at, file), what, { cause })
  }
  const place = placeAt(source, at, file)
  if (last === undefined && /^\{\{~?\s*\/$/.test(match))
    return new TemplateError('TEMPLATE_SYNTAX', place, 'there is no open block that this tag could close', { cause })
  const expected = /Expecting (.*), got/.exec(message)?.[1]
  const found = match === '' ? 'the end of the template' : JSON.stringify(match)
  return new TemplateError(
    'TEMPLATE_SYNTAX',
    place,
    `unexpected ${found}${expected ? `, expected ${inWords(expected)}` : ''}`,
    { cause },
  )
}

interface OpenBlock {
  readonly name: string
  readonly at: number
}

/** The blocks that are open at an offset, the inmost last; read up to what cannot be read. */
function openBlocks(source: string, end: number): OpenBlock[] {
  const { lexer, terminals_ } = parser()
  lexer.setInput(source)
  const open: OpenBlock[] = []
  let opening: number | undefined
  for (;;) {
    const token = terminals_[next(lexer) || 0]
    const at = lexer.matched.length - lexer.match.length
    if (token === undefined || token === 'EOF' || at >= end) return open
    if (token === 'OPEN_ENDBLOCK') open.pop()
    else if (/^OPEN_(BLOCK|INVERSE|PARTIAL_BLOCK)$/.test(token)) opening = at
    else if (opening !== undefined) {
      open.push({ name: lexer.yytext, at: opening })
      opening = undefined
    }
  }
}

function next(lexer: Lexer): number | false | undefined {
  try {
    return lexer.lex()
  } catch {
    // what it cannot read is what the error is about
    return undefined
  }
}

const TOKENS: Record<string, string> = {
  CLOSE: 'the end of the tag',
  CLOSE_UNESCAPED: 'the end of the tag',
  CLOSE_RAW_BLOCK: 'the end of the tag',
  CLOSE_SEXPR: "')'",
  CLOSE_BLOCK_PARAMS: "'|'",
  ID: 'a name',
  DATA: 'a name',
  EQUALS: "'='",
  STRING: 'a string',
  OPEN_ENDBLOCK: 'the end of a block',
  END_RAW_BLOCK: 'the end of a block',
  EOF: 'the end of the template',
}

function inWords(tokens: string): string {
  const words = new Set(tokens.split(', ').flatMap(token => TOKENS[token.replace(/'/g, '')] ?? []))
  return [...words].join(' or ') || 'text or a tag'
}
