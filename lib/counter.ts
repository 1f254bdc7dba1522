/** A number that concurrent transactions can change without conflict: their differences add up (BTrees' Length). */
import { unexpected } from './arguments.ts'
import type { ConflictResolver } from './merge.ts'
import { mergeAttributes } from './merge-maps.ts'
import { Persistent } from './persistent.ts'
import { registerClass, type StateRecord } from './registry.ts'
import { SOUND, type State } from './state.ts'

/** A number that concurrent transactions can change without conflict, by `change`. Setting `value` conflicts with nobody either: what counts is the difference. */
export class Counter extends Persistent implements ConflictResolver {
  value: number

  constructor(value = 0) {
    super()
    this.value = value
  }

  [SOUND]({ value }: State): boolean {
    return typeof value === 'number'
  }

  /**
   * Adds `delta` (may be negative) and returns the new value.
   * @throws {ObjectError} INVALID_ARGUMENT unless it is a finite number
   */
  change(delta: number): number {
    if (!Number.isFinite(delta)) throw unexpected('change of a Counter', 'a finite number', delta)
    this.value += delta
    return this.value
  }

  _p_resolveConflict(old: StateRecord, committed: StateRecord, mine: StateRecord): StateRecord {
    const value = (committed.value as number) + (mine.value as number) - (old.value as number)
    return { ...mergeAttributes(old, committed, mine, 'value'), value }
  }
}

registerClass('Counter', Counter)
