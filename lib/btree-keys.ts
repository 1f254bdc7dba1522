/**
 * What can be a key of a BTree, and in which order keys come.
 *
 *     false < true  <  numbers and bigints, by value  <  dates, by time  <  strings, by their UTF-16 code units
 *
 * Two keys of which neither comes first are the same key: 1 and 1n, 0 and -0, two dates of the same millisecond. NaN, infinities, invalid
 * dates, null, undefined and all other objects have no place in the order and are refused.
 */
import { types } from 'node:util'
import { checkOptions, shown, unexpected } from './arguments.ts'
import { ObjectError } from './errors.ts'

export type Key = string | number | bigint | boolean | Date

/** Which entries, and in which order. */
export interface Range {
  readonly from?: Key | undefined
  readonly to?: Key | undefined
  /** Whether an entry at `from` belongs to the range. Default true. */
  readonly includeFrom?: boolean
  /** Whether an entry at `to` belongs to the range. Default false. */
  readonly includeTo?: boolean
  /** From the last entry to the first. Default false. */
  readonly reverse?: boolean
  /** At most so many entries. */
  readonly limit?: number
}

const RANK: Readonly<Record<string, number>> = { boolean: 0, number: 1, bigint: 1, object: 2, string: 3 }

/** Negative if `a` comes first, positive if `b` does, 0 for the same key. */
export function compareKeys(a: Key, b: Key): number {
  if (a === b) return 0
  const rank = typeof a === typeof b ? 0 : RANK[typeof a]! - RANK[typeof b]!
  if (rank !== 0) return rank
  return a < b ? -1 : a > b ? 1 : 0
}

/**
 * The key as it is stored.
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export function checkedKey(key: Key): Key {
  switch (typeof key) {
    case 'string':
    case 'bigint':
    case 'boolean':
      return key
    case 'number':
      if (Number.isFinite(key)) return key + 0
      break
    case 'object':
      if (types.isDate(key) && !Number.isNaN(key.getTime())) return new Date(key)
  }
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `a key must be a string, a finite number, a bigint, a boolean or a valid date, found ${shown(key)}`,
  )
}

/** A key to give away: dates can be changed, so the tree keeps its own. */
export const givenKey = (key: Key): Key => (typeof key === 'object' ? new Date(key) : key)

/** The first index whose key does not come before `key`. */
export function lowerBound(keys: readonly Key[], key: Key): number {
  let low = 0
  let high = keys.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareKeys(keys[middle]!, key) < 0) low = middle + 1
    else high = middle
  }
  return low
}

/** The index of `key`; -1 if it is not there. */
export function indexOfKey(keys: readonly Key[], key: Key): number {
  const index = lowerBound(keys, key)
  return index < keys.length && compareKeys(keys[index]!, key) === 0 ? index : -1
}

/** A range as a method was given it, by its bounds or as a whole, checked. */
export function rangeOf(from: Key | Range | undefined, to: Key | undefined): Range {
  const range = typeof from === 'object' && !(from instanceof Date) ? checkOptions('range', from) : { from, to }
  const { limit } = range
  if (limit !== undefined && !(typeof limit === 'number' && limit >= 0))
    throw unexpected('the limit of a range', 'a number from 0', limit)
  return {
    ...range,
    from: range.from === undefined ? undefined : checkedKey(range.from),
    to: range.to === undefined ? undefined : checkedKey(range.to),
  }
}
