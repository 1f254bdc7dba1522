/**
 * Inner values that outlive a rollback.
 *
 * Whoever took an array out of an object before a savepoint goes on using it after the rollback, and what is done to it then must not be lost. So
 * a savepoint knows the inner values of each object as they were, and the rollback gives these their content back
 * instead of putting others in their places.
 */
import { isInner, type State } from './persistent.ts'

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
 * Puts inner values into a state that was decoded anew, in the places of its own, with the content of those.
 * @param kept the inner values of the same state, decoded earlier or never encoded
 */
export function graft(kept: readonly object[], state: State): void {
  const fresh = innerValues(state)
  if (fresh.length !== kept.length) return
  const twins = new Map<unknown, object>()
  for (const [i, value] of fresh.entries()) if (fits(kept[i]!, value)) twins.set(value, kept[i]!)
  const own = (value: unknown): unknown => twins.get(value) ?? value
  for (const value of fresh) refill(twins.get(value) ?? value, value, own)
  for (const key in state) state[key] = own(state[key])
}

const isBinary = (value: object): value is ArrayBufferView | ArrayBuffer =>
  ArrayBuffer.isView(value) || value instanceof ArrayBuffer

function fits(kept: object, fresh: object): boolean {
  if (Object.getPrototypeOf(kept) !== Object.getPrototypeOf(fresh)) return false
  return !isBinary(fresh) || (kept as ArrayBuffer).byteLength === fresh.byteLength
}

/** Gives `kept` the content of `fresh`. What is frozen has it still. */
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
    const properties = Object.entries(fresh)
    if (kept !== fresh) for (const key of Object.keys(kept)) Reflect.deleteProperty(kept, key)
    if (Array.isArray(kept)) Reflect.set(kept, 'length', (fresh as unknown[]).length)
    for (const [key, value] of properties)
      Reflect.defineProperty(kept, key, { value: own(value), writable: true, enumerable: true, configurable: true })
  }
}

const bytesOf = (value: ArrayBufferView | ArrayBuffer): Uint8Array =>
  value instanceof ArrayBuffer
    ? new Uint8Array(value)
    : new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
