/**
 * The syntax tree of a template: Handlebars' own, in exact types.
 *
 * https://github.com/handlebars-lang/handlebars.js/blob/4.x/docs/compiler-api.md
 */
export interface Located {
  readonly loc: { readonly start: { readonly line: number; readonly column: number } }
}

export interface Program {
  readonly body: readonly Statement[]
  readonly blockParams?: readonly string[]
}

export type Statement = Content | Comment | Mustache | Block | InlinePartial | Partial | PartialBlock

export interface Content extends Located {
  readonly type: 'ContentStatement'
  value: string
  /** Set where whitespace control took the line break after a tag that stands alone. */
  readonly rightStripped?: boolean
}
export interface Comment extends Located {
  readonly type: 'CommentStatement'
}
/** What calls a helper or reads a path. */
export interface Call extends Located {
  readonly path: Path | Literal
  readonly params: readonly Expression[]
  readonly hash?: Hash
}
export interface Mustache extends Call {
  readonly type: 'MustacheStatement'
  readonly escaped: boolean
}
export interface Block extends Call {
  readonly type: 'BlockStatement'
  readonly program?: Program
  readonly inverse?: Program
}
export interface InlinePartial extends Call {
  readonly type: 'DecoratorBlock'
  readonly program: Program
}
export interface Partial extends Located {
  readonly type: 'PartialStatement'
  readonly name: Path | Literal | SubExpression
  readonly params: readonly Expression[]
  readonly hash?: Hash
  readonly indent: string
}
export interface PartialBlock extends Located {
  readonly type: 'PartialBlockStatement'
  readonly name: Path | Literal | SubExpression
  readonly params: readonly Expression[]
  readonly hash?: Hash
  readonly program: Program
}

export type Expression = Path | Literal | SubExpression

export interface SubExpression extends Call {
  readonly type: 'SubExpression'
}
export interface Path extends Located {
  readonly type: 'PathExpression'
  /** Begins with @. */
  readonly data: boolean
  /** How many ../ it begins with. */
  readonly depth: number
  readonly parts: readonly string[]
  readonly original: string
}
export type Literal =
  | (Located & { readonly type: 'StringLiteral'; readonly value: string; readonly original: string })
  | (Located & { readonly type: 'NumberLiteral'; readonly value: number; readonly original: number })
  | (Located & { readonly type: 'BooleanLiteral'; readonly value: boolean; readonly original: boolean })
  | (Located & { readonly type: 'UndefinedLiteral' })
  | (Located & { readonly type: 'NullLiteral' })

export interface Hash {
  readonly pairs: readonly (Located & { readonly key: string; readonly value: Expression })[]
}

/** The name that a path or a literal in the place of one spells. */
export function nameOf(path: Path | Literal): string {
  return 'original' in path ? String(path.original) : path.type === 'NullLiteral' ? 'null' : 'undefined'
}

/** True for a bare name: no dots, no ../, no this. */
export function isBareName(path: Path | Literal): boolean {
  return (
    path.type !== 'PathExpression' || (path.parts.length === 1 && path.depth === 0 && !/^\.|this\b/.test(path.original))
  )
}
