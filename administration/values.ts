/** Values of attributes as programs (JSON) and people are shown them, with their types. */
import { Blob, Broken, Folder, Persistent, propertiesOf } from '../objects/index.ts'
import { nameOf } from './places.ts'
import { typeOf } from './types.ts'

export interface Shown {
  /** A declared property's type, or what kind of value it is: text, number, boolean, date, list, map, set, record, bytes, object, empty. */
  readonly type: string
  /** As JSON can say it: dates are ISO 8601, bytes base64, a map a list of pairs, an object `{ type, name }`. */
  readonly value: unknown
}

/** What a folder keeps its children in is its affair. */
const HIDDEN = ['children']

/** The attributes of an object by name: the declared ones first, then all others that are stored. */
export function attributesOf(object: Persistent): Record<string, Shown> {
  const declared = propertiesOf(object)
  const own = Object.keys(object).filter(name => !(object instanceof Folder && HIDDEN.includes(name)))
  const shown: Record<string, Shown> = {}
  for (const name of [...Object.keys(declared), ...own]) {
    const value = Reflect.get(object, name)
    Object.defineProperty(shown, name, {
      value: { type: declared[name]?.type ?? kindOf(value), value: plain(value) },
      enumerable: true,
      configurable: true,
    })
  }
  return shown
}

function kindOf(value: unknown): string {
  if (value === undefined || value === null) return 'empty'
  if (typeof value === 'string') return 'text'
  if (typeof value !== 'object') return typeof value
  if (value instanceof Persistent) return 'object'
  if (Array.isArray(value)) return 'list'
  if (value instanceof Date) return 'date'
  if (value instanceof Map) return 'map'
  if (value instanceof Set) return 'set'
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer ? 'bytes' : 'record'
}

/** A value as JSON can say it. */
export function plain(value: unknown, within: readonly unknown[] = []): unknown {
  if (value === undefined || value === null) return null
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'number') return Number.isFinite(value) && !Object.is(value, -0) ? value : numberText(value)
  if (typeof value !== 'object') return value
  if (value instanceof Persistent) return { type: typeOf(value), name: nameOf(value) }
  if (within.includes(value)) return '(the same as an outer value)'
  const inner = (each: unknown) => plain(each, [...within, value])
  if (Array.isArray(value)) return value.map(inner)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
  if (value instanceof Map) return Array.from(value, ([key, each]) => [inner(key), inner(each)])
  if (value instanceof Set) return Array.from(value, inner)
  if (value instanceof ArrayBuffer) return Buffer.from(value).toString('base64')
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64')
  if (value instanceof RegExp || value instanceof Error) return String(value)
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, inner(each)]))
}

const numberText = (value: number): string => (Object.is(value, -0) ? '-0' : String(value))

/** How large an object is: the children of a folder, the bytes of a file or a text; null where that says nothing. */
export function sizeOf(object: Persistent): number | null {
  if (object instanceof Broken) return null
  if (object instanceof Folder || object instanceof Blob) return object.size
  const { source } = object as { source?: unknown }
  return typeof source === 'string' ? Buffer.byteLength(source) : null
}
