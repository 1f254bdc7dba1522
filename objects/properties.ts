/**
 * Declared properties: what can be set from text (the command line), with its type.
 *
 * A class declares them as `static properties`; a subclass inherits its parent's.
 */
import { ObjectError, Persistent, unexpected } from '../lib/index.ts'
import { announce } from './events.ts'

/** A property that can be set from text, by `objtree set` and `setProperty`. */
export interface PropertySpec {
  /** Which texts are right, and what they become, is said at READERS below. */
  readonly type: 'string' | 'boolean' | 'choice' | 'number' | 'integer' | 'date' | 'strings'
  /** For type `choice`; a function where they depend on the object. */
  readonly choices?: readonly string[] | ((object: Persistent) => readonly string[])
  /** For numbers: the least and the most. */
  readonly range?: readonly [number, number]
  readonly description: string
}

/** What a class declares as `static properties`, by name. */
export type Properties = Readonly<Record<string, PropertySpec>>

const declared = new WeakMap<object, Properties>()

/** The properties that an object's class declares, its parents' first. */
export function propertiesOf(object: Persistent): Properties {
  if (!(object instanceof Persistent)) throw unexpected('properties', 'a persistent object', object)
  const known = declared.get(object.constructor)
  if (known !== undefined) return known
  const found: Record<string, PropertySpec> = {}
  for (let at: unknown = object.constructor; typeof at === 'function'; at = Object.getPrototypeOf(at))
    for (const [name, spec] of Object.entries((at as { properties?: Properties }).properties ?? {}))
      found[name] ??= spec
  declared.set(object.constructor, found)
  return found
}

/**
 * Sets a declared property from text.
 * @throws {ObjectError} NOT_FOUND for a property that is not declared, INVALID_ARGUMENT for a text of the wrong form
 */
export function setProperty(object: Persistent, name: string, text: string): void {
  const properties = propertiesOf(object)
  if (typeof name !== 'string') throw unexpected('setProperty', 'the name of a property', name)
  const spec = Object.hasOwn(properties, name) ? properties[name] : undefined
  if (spec === undefined) {
    const known = Object.keys(properties).join(', ') || 'none'
    throw new ObjectError(
      'NOT_FOUND',
      `${object.constructor.name} has no property '${name}' that can be set; it has: ${known}`,
    )
  }
  if (typeof text !== 'string')
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `property '${name}' is set from a text, found ${typeof text}; in a program set the attribute ${name} itself`,
    )
  const choices = typeof spec.choices === 'function' ? spec.choices(object) : (spec.choices ?? [])
  const value = READERS[spec.type](text.trim(), choices)
  if (value === undefined || !isWithin(value, spec))
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `property '${name}' must be ${expected(spec, choices)}, found ${JSON.stringify(text)}`,
    )
  Reflect.set(object, name, spec.type === 'string' ? text : value)
  announce(object, 'modified', () => [{ object, path: object.physicalPath }])
}

/** The value of a declared number. @throws {ObjectError} INVALID_ARGUMENT if a program has set it to anything else */
export function numberOf(object: Persistent, name: string): number {
  const spec = propertiesOf(object)[name] as PropertySpec
  const value: unknown = Reflect.get(object, name)
  const isNumber = spec.type === 'integer' ? Number.isSafeInteger(value) : Number.isFinite(value)
  if (isNumber && isWithin(value, spec)) return value as number
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `property '${name}' of ${object.physicalPath} must be ${expected(spec, [])}, found ${typeof value === 'number' ? value : JSON.stringify(value)}`,
  )
}

function isWithin(value: unknown, { range }: PropertySpec): boolean {
  return range === undefined || (Number(value) >= range[0] && Number(value) <= range[1])
}

function expected({ type, range }: PropertySpec, choices: readonly string[]): string {
  if (type === 'choice') return choices.map(choice => choice || 'empty').join(' or ')
  if (range === undefined) return EXPECTED[type]
  return `a ${type === 'integer' ? 'whole number' : 'number'} from ${range[0]} to ${range[1]}`
}

const EXPECTED = {
  string: 'a text',
  boolean: 'true or false',
  number: 'a number, like -1.5 or 2e3',
  integer: 'a whole number between -9007199254740991 and 9007199254740991',
  date: 'a date like 2026-03-31 or 2026-03-31T12:00:00Z',
  strings: 'texts with commas between them, or a JSON array of strings',
}

/** The value that a trimmed text stands for; undefined if it is of the wrong form. */
const READERS: Record<PropertySpec['type'], (text: string, choices: readonly string[]) => unknown> = {
  string: text => text,
  boolean: text => (text === 'true' ? true : text === 'false' ? false : undefined),
  choice: (text, choices) => (choices.includes(text) ? text : undefined),
  number: text => {
    const value = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN
    return Number.isFinite(value) ? value : undefined
  },
  integer: text => {
    const value = /^[+-]?\d+$/.test(text) ? Number(text) : Number.NaN
    return Number.isSafeInteger(value) ? value : undefined
  },
  date: dateOf,
  strings: text =>
    text.startsWith('[') ? fromJson(text) : text === '' ? [] : text.split(',').map(each => each.trim()),
}

/** The time that a text stands for, undefined if it is of the wrong form. ISO 8601: a day (which begins at midnight UTC), or a time with its zone. Days that are in no calendar are refused. */
export function dateOf(text: string): Date | undefined {
  const found = /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?$/.exec(text)
  const date = new Date(text)
  const day = new Date(found?.[1] ?? Number.NaN)
  if (found === null || Number.isNaN(date.getTime()) || Number.isNaN(day.getTime())) return undefined
  return day.toISOString().startsWith(found[1] as string) ? date : undefined
}

function fromJson(text: string): string[] | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return Array.isArray(value) && value.every(each => typeof each === 'string') ? value : undefined
  } catch {
    return undefined
  }
}
