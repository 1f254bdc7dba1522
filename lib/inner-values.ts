/**
 * Inner values that outlive a rollback.
 *
 * Whoever took an array out of an object before a savepoint goes on using it after the rollback, and what is done to it then must not be lost. So
 * a savepoint knows the inner values of each object as they were, and the rollback gives these their content back
 * instead of putting others in their places.
 */
import { isInner, type State } from './persistent.ts'
import { isPlain } from './pickle-values.ts'

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
 * Puts inner values into a state that was decoded anew, in the places of its own, with the content of those. One that cannot take it (what
 * is frozen) is its object's no more.
 * @param kept the inner values of the same state, decoded earlier or never encoded
 */
export function graft(kept: readonly object[], state: State): void {
  const fresh = innerValues(state)
  if (fresh.length !== kept.length) return
  const twins = new Map<unknown, object>()
  for (const [i, value] of fresh.entries()) if (emptied(kept[i]!, value)) twins.set(value, kept[i]!)
  const own = (value: unknown): unknown => twins.get(value) ?? value
  for (const value of fresh) refill(twins.get(value) ?? value, value, own)
  for (const key in state) state[key] = own(state[key])
}

const isBinary = (value: object): value is ArrayBufferView | ArrayBuffer =>
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer

/** Makes `kept` ready to take the content of `fresh`. @returns whether it can; if not, it is left as it is */
function emptied(kept: object, fresh: object): boolean {
  const prototype = Object.getPrototypeOf(fresh)
  const alike = Object.getPrototypeOf(kept) === prototype
  if (isBinary(fresh)) return alike && (kept as ArrayBuffer).byteLength === fresh.byteLength
  if (!Array.isArray(fresh) && !isPlain(fresh)) return alike
  if (!(alike || (isPlain(kept) && isPlain(fresh))) || !Object.isExtensible(kept)) return false
  const properties = Object.entries(Object.getOwnPropertyDescriptors(kept))
  if (!properties.every(([key, each]) => each.configurable || (isLength(kept, key) && each.writable))) return false
  for (const key of Reflect.ownKeys(kept)) Reflect.deleteProperty(kept, key)
  return Reflect.setPrototypeOf(kept, prototype)
}

const isLength = (holder: object, key: string): boolean => key === 'length' && Array.isArray(holder)

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
    if (Array.isArray(kept)) kept.length = (fresh as unknown[]).length
    for (const [key, value] of Object.entries(fresh))
      Reflect.defineProperty(kept, key, { value: own(value), writable: true, enumerable: true, configurable: true })
  }
}

const bytesOf = (value: ArrayBufferView | ArrayBuffer): Uint8Array =>
  value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
