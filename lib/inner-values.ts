/**
 * Inner values that outlive a rollback.
 *
 * Whoever took an array out of an object before a savepoint goes on using it after the rollback, and what is done to it then must not be lost. So
 * a savepoint knows the inner values of each object as they were, and the rollback gives these their content back
 * instead of putting others in their places.
 */
import { isInner } from './cell.ts'
import { isPlain } from './pickle-values.ts'
import type { State } from './state.ts'

/** All arrays, objects, Maps … of a state, each once, in an order that is the same whenever that state is decoded. */
export function innerValues(state: State): object[] {
  const found = new Set<object>()
  const visit = (value: unknown): void => {
    if (!isInner(value) || found.has(value)) return
    found.add(value)
    if (value instanceof Map) for (const entry of value) entry.forEach(visit)
    else if (value instanceof Set) for (const each of value) visit(each)
    else if (!isBinary(value) && !(value instanceof Date)) Object.values(value).forEach(visit)
  }
  for (const key in state) if (!key.startsWith('_v_')) visit(state[key])
  return [...found]
}

/**
 * Puts inner values into a state that was decoded anew, in the places of its own, with the content of those. One that cannot take its content
 * is its object's no more.
 * @param kept the inner values of the same state, decoded earlier or never encoded
 * @returns false if one of those can still be changed, which would be lost in silence
 */
export function graft(kept: readonly object[], state: State): boolean {
  const fresh = innerValues(state)
  // upgrading may make others each time
  if (fresh.length !== kept.length) return kept.every(isFixed)
  const twins = new Map<unknown, object>(fresh.map((value, i) => [value, kept[i]!]))
  const own = (value: unknown): unknown => twins.get(value) ?? value
  const lost = dropUnfit(twins, own)
  for (const [value, twin] of twins) empty(twin, value as object)
  for (const value of fresh) refill(twins.get(value) ?? value, value, own)
  for (const key in state) state[key] = own(state[key])
  return lost.every(isFixed)
}

/** Takes those out that cannot take the content that they should; where one is fixed in another, that one cannot either. */
function dropUnfit(twins: Map<unknown, object>, own: (value: unknown) => unknown): object[] {
  const lost: object[] = []
  for (let before = -1; before < lost.length; ) {
    before = lost.length
    for (const [fresh, twin] of twins) {
      if (canTake(twin, fresh as object, own)) continue
      twins.delete(fresh)
      lost.push(twin)
    }
  }
  return lost
}

/** Whether nothing in it can be changed. */
const isFixed = (value: object): boolean => (isBinary(value) ? value.byteLength === 0 : Object.isFrozen(value))

const isBinary = (value: object): value is ArrayBufferView | ArrayBuffer =>
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer

const isHolder = (value: object): boolean => Array.isArray(value) || isPlain(value)

function canTake(kept: object, fresh: object, own: (value: unknown) => unknown): boolean {
  const alike = Object.getPrototypeOf(kept) === Object.getPrototypeOf(fresh)
  if (isBinary(fresh)) return alike && (kept as ArrayBuffer).byteLength === fresh.byteLength
  if (!isHolder(fresh)) return alike
  if (!alike && !(isPlain(kept) && isPlain(fresh) && Object.isExtensible(kept))) return false
  if (!Object.isExtensible(kept) && !Object.keys(fresh).every(key => Object.hasOwn(kept, key))) return false
  return Reflect.ownKeys(kept).every(key => {
    const { configurable, writable, value } = Object.getOwnPropertyDescriptor(kept, key)!
    if (configurable || (writable && Object.hasOwn(fresh, key))) return true
    return Object.hasOwn(fresh, key) && writable === false && Object.is(value, own(Reflect.get(fresh, key)))
  })
}

/** Makes `kept` ready to take the content of `fresh`. */
function empty(kept: object, fresh: object): void {
  if (!isHolder(fresh)) return
  // those of what cannot be extended would not come back
  const stays = (key: string | symbol) => !Object.isExtensible(kept) && Object.hasOwn(fresh, key)
  for (const key of Reflect.ownKeys(kept)) if (!stays(key)) Reflect.deleteProperty(kept, key)
  if (Object.isExtensible(kept)) Reflect.setPrototypeOf(kept, Object.getPrototypeOf(fresh))
}

/** Gives `kept` the content of `fresh`. */
function refill(kept: object, fresh: object, own: (value: unknown) => unknown): void {
  if (kept instanceof Map) {
    const entries = [...(fresh as Map<unknown, unknown>)]
    kept.clear()
    for (const [key, value] of entries) kept.set(own(key), own(value))
  } else if (kept instanceof Set) {
    const values = [...(fresh as Set<unknown>)]
    kept.clear()
    for (const value of values) kept.add(own(value))
  } else if (kept instanceof Date) kept.setTime((fresh as Date).getTime())
  else if (isBinary(kept)) bytesOf(kept).set(bytesOf(fresh as ArrayBufferView))
  else {
    if (Array.isArray(kept)) Reflect.set(kept, 'length', (fresh as unknown[]).length)
    for (const [key, value] of Object.entries(fresh)) put(kept, key, own(value))
  }
}

function put(holder: object, key: string, value: unknown): void {
  const fixed = Object.getOwnPropertyDescriptor(holder, key)?.configurable === false
  const free = { writable: true, enumerable: true, configurable: true }
  Reflect.defineProperty(holder, key, fixed ? { value } : { value, ...free })
}

const bytesOf = (value: ArrayBufferView | ArrayBuffer): Uint8Array =>
  value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
