/**
 * A list that is an object of its own, stored as one record (ZODB's PersistentList).
 *
 * Methods have the names and the meaning of Array's; those that make a new list give a plain array. Items are whatever can be stored;
 * a change inside one is noticed. It has no holes. Of two transactions that change the same list one conflicts: where things stand in a list
 * depends on all of it.
 */
import { checkFunction, checkIterable, shown, unexpected } from './arguments.ts'
import { ObjectError } from './errors.ts'
import { handOut, Persistent } from './persistent.ts'
import { registerClass } from './registry.ts'
import { EXPLICIT, SOUND, type State } from './state.ts'

/** An array as an object of its own, stored as one record; its methods are Array's. */
export class PersistentList<T = unknown> extends Persistent {
  get [EXPLICIT](): true {
    return true
  }

  [SOUND]({ items }: State): boolean {
    return Array.isArray(items)
  }

  private items: T[]

  constructor(items: Iterable<T> = []) {
    super()
    this.items = Array.from(checkIterable('PersistentList', items), item => handOut(this, item))
  }

  get length(): number {
    return this.items.length
  }

  /** The item at an index; negative ones count from the end. */
  at(index: number): T | undefined {
    return handOut(this, this.items.at(checkIndex('at', index)))
  }

  /** @throws {ObjectError} INVALID_ARGUMENT unless there is an item at `index` */
  set(index: number, item: T): void {
    if (!Number.isInteger(index) || index < 0 || index >= this.length)
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `a list of ${this.length} has no item ${shown(index)} to be set; use push() or splice() to add one`,
      )
    this.changing()[index] = handOut(this, item)
  }

  /** @returns the new length */
  push(...items: T[]): number {
    this.splice(this.length, 0, ...items)
    return this.length
  }

  pop(): T | undefined {
    return this.changing().pop()
  }

  shift(): T | undefined {
    return this.changing().shift()
  }

  /** @returns the new length */
  unshift(...items: T[]): number {
    this.splice(0, 0, ...items)
    return this.length
  }

  /** Takes items out, puts others in. Without a count all from `start` on are taken out. @returns those taken out */
  splice(...args: [start: number, count?: number, ...items: T[]]): T[] {
    for (const index of args.slice(0, 2)) checkIndex('splice', index as number | undefined)
    for (const item of args.slice(2)) handOut(this, item)
    return this.changing().splice(...(args as [number, number, ...T[]]))
  }

  clear(): void {
    this.splice(0)
  }

  sort(compare?: (a: T, b: T) => number): this {
    if (compare !== undefined) checkFunction('sort', compare)
    this.changing().sort(compare)
    return this
  }

  reverse(): this {
    this.changing().reverse()
    return this
  }

  indexOf(item: T): number {
    return this.items.indexOf(item)
  }

  includes(item: T): boolean {
    return this.items.includes(item)
  }

  *[Symbol.iterator](): Generator<T> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as T
  }

  slice(start?: number, end?: number): T[] {
    return [...this].slice(checkIndex('slice', start), checkIndex('slice', end))
  }

  map<U>(to: (item: T, index: number) => U): U[] {
    checkFunction('map', to)
    return [...this].map((item, i) => to(item, i))
  }

  filter(wanted: (item: T, index: number) => boolean): T[] {
    checkFunction('filter', wanted)
    return [...this].filter((item, i) => wanted(item, i))
  }

  find(wanted: (item: T, index: number) => boolean): T | undefined {
    checkFunction('find', wanted)
    return [...this].find((item, i) => wanted(item, i))
  }

  private changing(): T[] {
    this._p_changed = true
    return this.items
  }
}

/** What Array would make a TypeError of; other numbers it makes whole. */
function checkIndex<I>(operation: string, index: I): I {
  if (index === undefined || typeof index === 'number') return index
  throw unexpected(`${operation} of a list`, 'an index', index)
}

registerClass('PersistentList', PersistentList)
