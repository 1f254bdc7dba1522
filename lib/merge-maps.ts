/** Merging what two transactions made of the same mapping: changes of different keys go together. */
import { isDeepStrictEqual } from 'node:util'
import type { StateRecord } from './registry.ts'

/**
 * @param old what both began with
 * @throws {Error} if both changed one key
 */
export function mergeMaps<K>(
  old: ReadonlyMap<K, unknown>,
  theirs: ReadonlyMap<K, unknown>,
  ours: ReadonlyMap<K, unknown>,
) {
  const merged = new Map(theirs)
  for (const key of new Set([...old.keys(), ...ours.keys()])) {
    if (same(old, ours, key)) continue
    if (!same(old, theirs, key)) throw new Error(`both changed ${String(key)}`)
    if (ours.has(key)) merged.set(key, ours.get(key))
    else merged.delete(key)
  }
  return merged
}

function same<K>(a: ReadonlyMap<K, unknown>, b: ReadonlyMap<K, unknown>, key: K): boolean {
  return a.has(key) === b.has(key) && isDeepStrictEqual(a.get(key), b.get(key))
}

/** Merges the attributes of an object but the one that its class merges itself. */
export function mergeAttributes(
  old: StateRecord,
  committed: StateRecord,
  mine: StateRecord,
  except: string,
): Record<string, unknown> {
  const attributes = (state: StateRecord) => new Map(Object.entries(state).filter(([name]) => name !== except))
  return Object.fromEntries(mergeMaps(attributes(old), attributes(committed), attributes(mine)))
}
