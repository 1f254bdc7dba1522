/**
 * The attributes of an object as JSON, without loss.
 *
 * Texts, booleans, numbers, null, lists and records are themselves; other values are `{ "$": KIND, "value": … }`: undefined, number (NaN,
 * Infinity, -Infinity, -0), bigint, date (milliseconds, null for an invalid one), bytes (base64), map, set, and record for one that has
 * a key `$`. What cannot be written so, a reference to another object above all, is refused.
 */
import { ObjectError, type Persistent } from '../../objects/index.ts'

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type Attributes = Readonly<Record<string, Json>>

/** Attributes that say where an object is, and what is in it. */
const ELSEWHERE = new Set(['__parent__', '__name__', '__source__', 'children', 'content'])

/** The names of what is stored of an object besides that. */
function attributeNames(object: Persistent): string[] {
  return (Reflect.ownKeys(object) as string[]).filter(name => !ELSEWHERE.has(name) && !name.startsWith('_v_')).sort()
}

/** @returns undefined if there is an attribute that cannot be written so */
export function attributesOf(object: Persistent): Attributes | undefined {
  const found: [string, Json][] = []
  for (const name of attributeNames(object)) {
    const value = encode(Reflect.get(object, name), [])
    if (value === undefined) return undefined
    found.push([name, value])
  }
  return Object.fromEntries(found)
}

/** @returns undefined for what cannot be written; values within values cannot come back to themselves */
export function encode(value: unknown, within: readonly unknown[]): Json | undefined {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (value === undefined) return { $: 'undefined' }
  if (typeof value === 'bigint') return { $: 'bigint', value: String(value) }
  if (typeof value === 'number')
    return Number.isFinite(value) && !Object.is(value, -0)
      ? value
      : { $: 'number', value: Object.is(value, -0) ? '-0' : String(value) }
  if (typeof value !== 'object' || within.includes(value)) return undefined
  const inner = (each: unknown) => encode(each, [...within, value])
  const list = (items: readonly unknown[]) => {
    const found = items.map(inner)
    return found.includes(undefined) ? undefined : (found as Json[])
  }
  if (Array.isArray(value)) return Object.keys(value).length === value.length ? list(value) : undefined
  if (value instanceof Date) return { $: 'date', value: Number.isNaN(value.getTime()) ? null : value.getTime() }
  if (value instanceof Uint8Array) return { $: 'bytes', value: Buffer.from(value).toString('base64') }
  if (value instanceof Map) return tagged('map', list([...value].map(pair => [...pair])))
  if (value instanceof Set) return tagged('set', list([...value]))
  if (![Object.prototype, null].includes(Object.getPrototypeOf(value))) return undefined
  const entries = Object.entries(value).map(([key, each]) => [key, inner(each)] as const)
  if (entries.some(([, each]) => each === undefined)) return undefined
  const record = Object.fromEntries(entries) as { [key: string]: Json }
  return Object.hasOwn(record, '$') ? { $: 'record', value: record } : record
}

const tagged = (kind: string, value: Json | undefined): Json | undefined =>
  value === undefined ? undefined : { $: kind, value }

/** @throws {ObjectError} INVALID_ARGUMENT for what `encode` does not write */
export function decode(json: Json): unknown {
  if (typeof json !== 'object' || json === null) return json
  if (Array.isArray(json)) return json.map(decode)
  const record = json as { readonly [key: string]: Json }
  return Object.hasOwn(record, '$') ? decodeTagged(record.$, record.value) : decodeRecord(record)
}

const decodeRecord = (record: object): Record<string, unknown> => {
  const entries = Object.entries(record).map(([key, each]) => [key, decode(each as Json)])
  return Object.fromEntries(entries)
}

function decodeTagged(kind: Json | undefined, value: Json | undefined): unknown {
  const items = Array.isArray(value) ? (value as readonly Json[]) : undefined
  if (kind === 'undefined') return undefined
  if (kind === 'number' && typeof value === 'string' && /^(NaN|-?Infinity|-0)$/.test(value)) return Number(value)
  if (kind === 'bigint' && typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value)
  if (kind === 'date' && (value === null || typeof value === 'number')) return new Date(value ?? Number.NaN)
  if (kind === 'bytes' && typeof value === 'string') return new Uint8Array(Buffer.from(value, 'base64'))
  if (kind === 'set' && items) return new Set(items.map(decode))
  if (kind === 'map' && items?.every(pair => Array.isArray(pair) && pair.length === 2))
    return new Map(items.map(pair => decode(pair) as [unknown, unknown]))
  if (kind === 'record' && typeof value === 'object' && value !== null && !items) return decodeRecord(value)
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `no value is written as ${JSON.stringify({ $: kind, value }).slice(0, 200)}`,
  )
}

/** Gives an object these attributes, and no others. @returns whether that changed anything */
export function setAttributes(object: Persistent, attributes: Attributes): boolean {
  let changed = false
  for (const name of attributeNames(object)) {
    if (Object.hasOwn(attributes, name)) continue
    Reflect.deleteProperty(object, name)
    changed = true
  }
  for (const [name, json] of Object.entries(attributes)) {
    if (ELSEWHERE.has(name) || name.startsWith('_p_') || name.startsWith('_v_') || name === 'constructor')
      throw new ObjectError('INVALID_ARGUMENT', `an attribute cannot be called ${JSON.stringify(name)} here`)
    const has = Reflect.getOwnPropertyDescriptor(object, name) !== undefined
    if (has && JSON.stringify(encode(Reflect.get(object, name), [])) === JSON.stringify(json)) continue
    const value = decode(json)
    if (!Reflect.set(object, name, value))
      throw new ObjectError('INVALID_ARGUMENT', `attribute ${JSON.stringify(name)} cannot be set`)
    changed = true
  }
  return changed
}
