/**
 * Whether arrays and typed arrays have properties besides their elements, enumerable or not.
 *
 * Each element is a property, and the engine makes a text of each index to list them: for long ones that would take longer than writing them.
 * `inspect` asks the engine for the others alone. What it prints is not relied on: where it is not what is expected, all properties are listed.
 */
import { inspect } from 'node:util'

/** Up to so many elements, listing all properties is the faster way. */
const FEW = 50
const BRIEFLY = {
  ...{ showHidden: true, customInspect: false, maxArrayLength: 0 },
  ...{ depth: 0, compact: true, breakLength: Number.POSITIVE_INFINITY },
} as const

/** Whether an array has all of its elements, and nothing else. */
export function isDense(array: readonly unknown[]): boolean {
  const { length } = array
  if (length > FEW) {
    const keys = Object.keys(array)
    // indices come first and in order, so the last key tells
    if (keys.length !== length || keys[length - 1] !== String(length - 1)) return false
    if (inspect(array, BRIEFLY) === `[ ... ${length} more items, [length]: ${length} ]`) return true
  }
  const all = Reflect.ownKeys(array)
  return all.length === length + 1 && all[length] === 'length'
}

/** Whether a typed array has properties with names. Symbols are not looked for. */
export function hasNames(array: Uint8Array): boolean {
  const { length } = array
  if (length > FEW && inspect(array, BRIEFLY) === inspect(array.subarray(), BRIEFLY)) return false
  return Object.getOwnPropertyNames(array).length > length
}
