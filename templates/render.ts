/**
 * Rendering: walks the syntax tree. Nothing is compiled, so no template and no value can become code.
 *
 * A rendering is synchronous and has no effects: mail is collected, not sent. When it meets a promise it is given up,
 * the promise awaited, and the rendering begun again; so promises may stand anywhere in the data.
 */

import { messageOf } from '../lib/errors.ts'
import {
  type Block,
  type Call,
  type Expression,
  isBareName,
  type Literal,
  type Located,
  type Mustache,
  nameOf,
  type Partial,
  type PartialBlock,
  type Path,
  type Program,
  type Statement,
} from './ast.ts'
import { type BlockCall, type HelperCall, helper, renderValue } from './builtins.ts'
import { TemplateError } from './errors.ts'
import type { Locale } from './formats.ts'
import { ATTACH, attachmentOf, MIME, multipartOf, PART, partOf } from './mime.ts'
import { mailOutput, type Output, type Piece } from './output.ts'
import { placeOf } from './parse.ts'
import { type Closure, enter, Pending, Reader, type Scope, type Settled } from './scope.ts'
import { type PendingMail, readAttributes, SENDMAIL } from './sendmail.ts'

/** Blocks and partials inside each other; more is taken for a partial that calls itself for ever. */
const DEEPEST = 500
/** How often a rendering is begun again; more is taken for data that give a new promise at each reading. */
const MOST_ATTEMPTS = 10_000

export interface Template {
  readonly file: string
  readonly program: Program
}

export interface Rendering {
  readonly output: Output
  readonly mails: readonly PendingMail[]
}

/**
 * @param partial finds a partial by name
 * @param output makes an empty output for the page
 * @param locale what the helpers use where the template does not say
 * @param inside that the whole template stands for the inside of a sendmail block
 * @throws {TemplateError} TEMPLATE_RENDER, NO_PARTIAL
 */
export async function render(
  template: Template,
  data: unknown,
  partial: (name: string) => Template | undefined,
  output: () => Output,
  locale: Locale,
  inside?: typeof SENDMAIL,
): Promise<Rendering> {
  const settled: Settled = new Map()
  for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
    try {
      const renderer = new Renderer(partial, output(), new Reader(settled), { locale, inside })
      renderer.program(template.program, rootScope(template.file, data))
      return renderer
    } catch (pending) {
      if (!(pending instanceof Pending)) throw pending
      const results = await Promise.allSettled(pending.promises)
      for (const [i, result] of results.entries()) settled.set(pending.promises[i]!, result)
    }
  }
  throw new TemplateError(
    'TEMPLATE_RENDER',
    { file: template.file, line: 1, column: 1 },
    `the data give more than ${MOST_ATTEMPTS} promises one after the other; is an attribute a new one at each reading?`,
  )
}

function rootScope(file: string, data: unknown): Scope {
  return {
    file,
    contexts: [data],
    frames: [{ root: data }],
    blockParams: new Map(),
    inlinePartials: new Map(),
    partialBlock: undefined,
  }
}

class Renderer implements Rendering {
  readonly mails: PendingMail[] = []
  output: Output
  readonly #partial: (name: string) => Template | undefined
  readonly #reader: Reader
  readonly #locale: Locale
  /** The innermost of the mail's blocks that is being rendered. */
  #inside: typeof SENDMAIL | typeof MIME | typeof PART | undefined
  #depth = 0

  constructor(
    partial: (name: string) => Template | undefined,
    output: Output,
    reader: Reader,
    { locale, inside }: { readonly locale: Locale; readonly inside: typeof SENDMAIL | undefined },
  ) {
    this.#locale = locale
    this.#inside = inside
    this.#partial = partial
    this.output = output
    this.#reader = reader
  }

  program(program: Program | undefined, scope: Scope): void {
    if (program === undefined) return
    const [first] = program.body
    if (first && this.#depth >= DEEPEST)
      throw this.#error(first, scope, `more than ${DEEPEST} blocks and partials inside each other`)
    this.#depth += 1
    const inner = this.#withInlinePartials(program, scope)
    for (const statement of program.body) this.#statement(statement, inner)
    this.#depth -= 1
  }

  #statement(statement: Statement, scope: Scope): void {
    switch (statement.type) {
      case 'ContentStatement':
        this.output.write(statement.value)
        return
      case 'MustacheStatement': {
        if (nameOf(statement.path) === ATTACH && this.#isCalled(statement)) {
          this.#attach(statement, scope)
          return
        }
        const value = this.#call(statement, scope)
        this.output.insert({ value, raw: !statement.escaped, place: placeOf(statement, scope.file) })
        return
      }
      case 'BlockStatement':
        if (!isBareName(statement.path)) this.#block(statement, scope)
        else if (nameOf(statement.path) === SENDMAIL) this.#sendmail(statement, scope)
        else if (nameOf(statement.path) === MIME) this.#mime(statement, scope)
        else if (nameOf(statement.path) === PART) this.#part(statement, scope)
        else this.#block(statement, scope)
        return
      case 'PartialStatement':
        this.#callPartial(statement, scope, undefined)
        return
      case 'PartialBlockStatement':
        this.#callPartial(statement, scope, { program: statement.program, scope })
        return
      case 'CommentStatement':
      case 'DecoratorBlock':
        return
    }
  }

  #block(block: Block, scope: Scope): void {
    const name = nameOf(block.path)
    const called = this.#isCall(block, scope) ? helper(name) : undefined
    const call: BlockCall = {
      ...this.#helperCall(block, scope),
      render: (context, locals = {}) =>
        this.program(block.program, enter(scope, context, locals, block.program?.blockParams)),
      renderInverse: () => this.program(block.inverse, scope),
    }
    if (called && called.block === undefined) throw this.#error(block, scope, `'${name}' is not a block helper`)
    this.#checkArity(block, called?.arity, scope)
    this.#reading(block, scope, () => {
      if (called?.block) called.block(call)
      else renderValue(call, this.#value(block.path, scope))
    })
  }

  /** The value of a mustache or a sub-expression. */
  #call(call: Call, scope: Scope): unknown {
    const name = nameOf(call.path)
    const called = this.#isCall(call, scope) ? helper(name) : undefined
    if (called === undefined) return this.#value(call.path, scope)
    if (called.value === undefined) throw this.#error(call, scope, `'${name}' is a block helper: expected #${name}`)
    this.#checkArity(call, called.arity, scope)
    return called.value(this.#helperCall(call, scope))
  }

  /** A helper's name is one unless it is a block parameter. */
  #isCall({ path }: Call, scope: Scope): boolean {
    return isBareName(path) && !(path.type === 'PathExpression' && (path.data || scope.blockParams.has(nameOf(path))))
  }

  #arguments({ params, hash }: Pick<Call, 'params' | 'hash'>, scope: Scope) {
    return {
      params: params.map(param => this.#expression(param, scope)),
      hash: Object.fromEntries((hash?.pairs ?? []).map(({ key, value }) => [key, this.#expression(value, scope)])),
    }
  }

  #helperCall(call: Call, scope: Scope): HelperCall {
    return {
      ...this.#arguments(call, scope),
      context: scope.contexts[0],
      reader: this.#reader,
      locale: this.#locale,
      refuse: what => this.#error(call, scope, `${nameOf(call.path)}: ${what}`),
    }
  }

  #checkArity(call: Call, arity: number | undefined, scope: Scope): void {
    if (arity !== undefined && call.params.length !== arity)
      throw this.#error(
        call,
        scope,
        `${nameOf(call.path)}: expected ${arity} argument${arity === 1 ? '' : 's'}, found ${call.params.length}`,
      )
  }

  #expression(expression: Expression, scope: Scope): unknown {
    switch (expression.type) {
      case 'PathExpression':
        return this.#value(expression, scope)
      case 'SubExpression':
        return this.#call(expression, scope)
      case 'UndefinedLiteral':
        return undefined
      case 'NullLiteral':
        return null
      default:
        return expression.value
    }
  }

  /** The value of a path; a literal in its place is a name. */
  #value(path: Path | Literal, scope: Scope): unknown {
    return this.#reading(path, scope, () =>
      path.type === 'PathExpression'
        ? this.#reader.read(path, scope)
        : this.#reader.property(scope.contexts[0], nameOf(path)),
    )
  }

  /** Runs what reads the data; an error that they throw gets its place. */
  #reading<T>(at: (Path | Literal | Block) & Located, scope: Scope, read: () => T): T {
    try {
      return read()
    } catch (cause) {
      if (cause instanceof Pending || cause instanceof TemplateError) throw cause
      const name = at.type === 'BlockStatement' ? `#${nameOf(at.path)}` : nameOf(at)
      throw this.#error(at, scope, `'${name}' could not be read: ${messageOf(cause)}`, cause)
    }
  }

  #sendmail(block: Block, scope: Scope): void {
    this.#expectInside(block, scope, SENDMAIL, [undefined])
    const place = placeOf(block, scope.file)
    const attributes = readAttributes(block, expression => this.#expression(expression, scope), place)
    this.mails.push({ ...attributes, parts: this.#rendered(block, scope, SENDMAIL), place })
  }

  #mime(block: Block, scope: Scope): void {
    this.#expectInside(block, scope, MIME, [SENDMAIL, MIME])
    const place = placeOf(block, scope.file)
    const parts = this.#rendered(block, scope, MIME)
    this.output.embed({ entity: multipartOf(block, each => this.#expression(each, scope), parts, place), place })
  }

  #part(block: Block, scope: Scope): void {
    this.#expectInside(block, scope, PART, [MIME])
    const place = placeOf(block, scope.file)
    const parts = this.#rendered(block, scope, PART)
    this.output.embed({ entity: partOf(block, each => this.#expression(each, scope), parts, place), place })
  }

  #attach(call: Mustache, scope: Scope): void {
    this.#expectInside(call, scope, ATTACH, [MIME])
    const place = placeOf(call, scope.file)
    this.output.embed({ entity: attachmentOf(call, each => this.#expression(each, scope), place), place })
  }

  /** What the inside of a mail's block renders to. */
  #rendered(block: Block, scope: Scope, as: typeof SENDMAIL | typeof MIME | typeof PART): readonly Piece[] {
    const outside = this.#inside
    this.#inside = as
    const { parts } = this.#into(mailOutput(), () => this.program(block.program, scope))
    this.#inside = outside
    return parts
  }

  #expectInside(at: Located, scope: Scope, name: string, places: readonly (string | undefined)[]): void {
    if (places.includes(this.#inside)) return
    const found = this.#inside === undefined ? 'the page' : `a ${this.#inside} block`
    const expected = places.map(place => (place === undefined ? 'the page' : `a ${place} block`)).join(' or ')
    throw this.#error(at, scope, `${name} can stand in ${expected}, found in ${found}`)
  }

  #isCalled({ params, hash, path }: Mustache): boolean {
    return isBareName(path) && (params.length > 0 || (hash?.pairs.length ?? 0) > 0)
  }

  #callPartial(node: Partial | PartialBlock, scope: Scope, block: Closure | undefined): void {
    const name = node.name.type === 'SubExpression' ? this.#call(node.name, scope) : nameOf(node.name)
    if (typeof name !== 'string')
      throw this.#error(node, scope, `expected the name of a partial, found ${name === null ? 'null' : typeof name}`)
    const { params, hash } = this.#arguments(node, scope)
    const given = node.params.length > 0 ? params[0] : scope.contexts[0]
    const context = node.hash ? { ...(given as object), ...hash } : given
    const inner = this.#into(this.output.fresh(), () => {
      const found = this.#findPartial(name, scope, block)
      if (found === undefined) throw this.#error(node, scope, `there is no partial '${name}'`, undefined, 'NO_PARTIAL')
      this.program(found.program, found.scope(context))
    })
    this.output.append(inner, 'indent' in node ? node.indent : '')
  }

  /** The program of a partial and the scope to run it in. */
  #findPartial(
    name: string,
    scope: Scope,
    block: Closure | undefined,
  ): { program: Program; scope: (context: unknown) => Scope } | undefined {
    const own = name === '@partial-block' ? scope.partialBlock : scope.inlinePartials.get(name)
    if (own) {
      const partialBlock = name === '@partial-block' ? own.scope.partialBlock : (block ?? scope.partialBlock)
      return {
        program: own.program,
        scope: context => ({
          ...enter(own.scope, context, {}),
          frames: scope.frames,
          inlinePartials: scope.inlinePartials,
          partialBlock,
        }),
      }
    }
    const template = name === '@partial-block' ? undefined : this.#partial(name)
    if (template) {
      const inlinePartials = block
        ? this.#withInlinePartials(block.program, scope).inlinePartials
        : scope.inlinePartials
      return {
        program: template.program,
        scope: context => ({
          ...enter(scope, context, {}),
          file: template.file,
          blockParams: new Map(),
          inlinePartials,
          partialBlock: block ?? scope.partialBlock,
        }),
      }
    }
    return block && { program: block.program, scope: context => enter(scope, context, {}) }
  }

  /** A program's inline partials are known in all of it and in the partials it calls. */
  #withInlinePartials(program: Program, scope: Scope): Scope {
    const inline = program.body.filter(statement => statement.type === 'DecoratorBlock')
    if (inline.length === 0) return scope
    const names = inline.map(statement => {
      const name = statement.params[0] && this.#expression(statement.params[0], scope)
      if (typeof name !== 'string')
        throw this.#error(statement, scope, `inline: expected the name of the partial, found ${typeof name}`)
      return [name, { program: statement.program, scope }] as const
    })
    return { ...scope, inlinePartials: new Map([...scope.inlinePartials, ...names]) }
  }

  #into(output: Output, work: () => void): Output {
    const outer = this.output
    this.output = output
    work()
    this.output = outer
    return output
  }

  #error(
    at: Located,
    scope: Scope,
    what: string,
    cause?: unknown,
    code: 'TEMPLATE_RENDER' | 'NO_PARTIAL' = 'TEMPLATE_RENDER',
  ): TemplateError {
    return new TemplateError(code, placeOf(at, scope.file), what, cause === undefined ? {} : { cause })
  }
}
