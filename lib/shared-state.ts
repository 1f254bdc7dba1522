/**
 * States that many connections read of one record: decoded once, and handed to each of them.
 *
 * Every transaction has a connection of its own, and most read the same few objects: the root, the folders on the way, the nodes of their trees. A
 * record that stays at hand (lib/storage/recent-records.ts) is decoded as ever for its first reader. For the second one its attributes are kept
 * with it, if nothing in them can be changed in place: scalar values, references, and of a BARE object arrays of these, which are frozen.
 */

import { asItStands, type Resolve, unpickle } from './pickle.ts'
import type { WholeRecord } from './record.ts'
import { Reference } from './reference.ts'
import type { State } from './state.ts'

interface Attributes {
  readonly names: readonly string[]
  readonly values: readonly unknown[]
  /** Whether it is for BARE objects alone. */
  readonly bare: boolean
}
/** `read` stands with a record that was read once, `unfit` with one whose attributes cannot be shared. */
export type SharedState = Attributes | 'read' | 'unfit'

/**
 * Fills `state` with the attributes that earlier readers of the record left.
 * @param bare whether it is a BARE object's
 * @returns false if the record has to be decoded
 */
export function fillShared(record: WholeRecord, state: State, bare: boolean, resolve: Resolve): boolean {
  if (record.shared === undefined) {
    record.shared = 'read'
    return false
  }
  if (record.shared === 'read') record.shared = attributesOf(record, bare) ?? 'unfit'
  if (record.shared === 'unfit' || record.shared.bare !== bare) return false
  const { names, values } = record.shared
  for (let i = 0; i < names.length; i++) {
    const value = values[i]
    state[names[i]!] = value instanceof Reference ? resolve(value) : value
  }
  return true
}

function attributesOf({ bytes, start }: WholeRecord, bare: boolean): Attributes | undefined {
  const record = unpickle(bytes, asItStands, start)
  const values = Object.values(record)
  for (const value of values) {
    if (isFixed(value)) continue
    if (!bare || !Array.isArray(value) || !value.every(isFixed)) return undefined
    Object.freeze(value)
  }
  return { names: Object.keys(record), values, bare }
}

const isFixed = (value: unknown): boolean => typeof value !== 'object' || value === null || value instanceof Reference
