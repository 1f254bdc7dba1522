/**
 * The helpers: Handlebars' own `if`, `unless`, `each`, `with` and `lookup`; `concat`, which joins its arguments as text; and
 * those of `formats.ts`.
 *
 * A block helper renders its block as often as it likes; a value helper answers a value. No other helper exists.
 */
import { FORMATS, type Locale } from './formats.ts'
import { textOf } from './output.ts'
import type { Locals, Reader } from './scope.ts'

export interface HelperCall {
  readonly params: readonly unknown[]
  readonly hash: Readonly<Record<string, unknown>>
  readonly context: unknown
  readonly reader: Reader
  readonly locale: Locale
  /** Makes the error for an argument that the helper cannot take. */
  refuse(what: string): Error
}

export interface BlockCall extends HelperCall {
  render(context: unknown, locals?: Locals): void
  renderInverse(): void
}

interface Helper {
  /** How many arguments it takes; any number if left out. */
  readonly arity?: number
  /** The attributes it takes; any if left out. */
  readonly attributes?: readonly string[]
  readonly block?: (call: BlockCall) => void
  readonly value?: (call: HelperCall) => unknown
}

const HELPERS = new Map<string, Helper>([
  ['if', { arity: 1, block: call => choose(call, isTrue(call)) }],
  ['unless', { arity: 1, block: call => choose(call, !isTrue(call)) }],
  ['with', { arity: 1, block: renderWith }],
  ['each', { arity: 1, block: call => renderEach(call, call.params[0]) }],
  [
    'lookup',
    {
      arity: 2,
      value: ({ params: [object, name], reader }) => (object ? reader.property(object, name) : object),
    },
  ],
  ['concat', { value: ({ params, refuse }) => params.map(param => textOf(param, refuse)).join('') }],
  ...Object.entries(FORMATS),
])

/** What is called like a helper, but done by the renderer itself. */
const BLOCKS = new Set(['sendmail', 'mime', 'part', 'attach'])

export function isHelper(name: string): boolean {
  return BLOCKS.has(name) || HELPERS.has(name)
}

export function helper(name: string): Helper | undefined {
  return HELPERS.get(name)
}

/** Handlebars' rule for a block of a plain value: a list is iterated, a falsy value renders the inverse. */
export function renderValue(call: BlockCall, value: unknown): void {
  if (value === true) call.render(call.context)
  else if (value === false || value === undefined || value === null) call.renderInverse()
  else if (Array.isArray(value)) renderEach(call, value)
  else call.render(value)
}

function choose(call: BlockCall, condition: boolean): void {
  if (condition) call.render(call.context)
  else call.renderInverse()
}

function isTrue({ params: [value], hash }: HelperCall): boolean {
  return value === 0 ? hash.includeZero === true : !isEmpty(value)
}

/** Handlebars' isEmpty: falsy but for 0, or an empty array. */
function isEmpty(value: unknown): boolean {
  return (!value && value !== 0) || (Array.isArray(value) && value.length === 0)
}

function renderWith(call: BlockCall): void {
  const [value] = call.params
  if (isEmpty(value)) call.renderInverse()
  else call.render(value, { blockParams: [value] })
}

function renderEach(call: BlockCall, value: unknown): void {
  const { keys, elements } = entriesOf(value)
  for (const [index, item] of call.reader.settleAll(elements).entries()) {
    const key = keys[index]
    const frame = { key, index, first: index === 0, last: index === keys.length - 1 }
    call.render(item, { frame, blockParams: [item, key] })
  }
  if (keys.length === 0) call.renderInverse()
}

/** The keys and elements of an array, an iterable or an object. */
function entriesOf(value: unknown): { keys: (string | number)[]; elements: unknown[] } {
  if (typeof value !== 'object' || value === null) return { keys: [], elements: [] }
  if (!(Symbol.iterator in value)) return { keys: Object.keys(value), elements: Object.values(value) }
  const elements = [...(value as Iterable<unknown>)]
  return { keys: [...elements.keys()], elements }
}
