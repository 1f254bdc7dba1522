/**
 * The objects of an export, by number: the top is 1, the others follow as they are found.
 *
 * An object that the transaction has not changed is known by its oid alone, and read from its record each time. So a large subtree is in
 * memory neither as objects nor as states, and the connection's cache stays as it is: some 80 bytes are kept for each object.
 */
import { Blob } from './blob.ts'
import { brokenVersion } from './broken-transfer.ts'
import { type Cell, cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import { ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import { pauses } from './pauses.ts'
import type { Persistent } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { asItStands, pickle, Reference, unpickle } from './pickle.ts'
import { type RecordBody, WholeRecord } from './record.ts'
import { classNamed, entryOf } from './registry.ts'
import { asState, type State } from './state.ts'
import { isContentId } from './storage/blob-store.ts'
import { classNameOf, containerIn, describe, isWithin, PLACE } from './subtree.ts'
import { rootOf } from './traversal.ts'

/** How an object is known: one of the connection's by its oid, another by itself. */
type Key = Oid | Persistent

/** An object as it is exported. Other objects stand in its state as references, or as themselves. */
export interface Member {
  readonly className: string
  /** The version of its class that the state is of. */
  readonly version: number
  readonly state: State
  /** The object, where it takes more than its state. */
  readonly object: Persistent | undefined
}

/** At most so many references are named when they are why an export is refused. */
const NAMED = 10
/** References that are waiting to be followed are given up in pieces of that many, once they have been. */
const FOLLOWED = 10_000
const NOWHERE = new Reference(0, '')
/** About how many bytes a reference has more than one that leads nowhere, besides the name of the class. */
const REFERENCE = 2

export class Members {
  private readonly top: Persistent
  private readonly root: Key
  private readonly connection: Connection | undefined
  private readonly keys: Key[] = []
  private readonly numbers = new Map<Key, number>()
  /** By the number of which member each other one was found. */
  private readonly finders: number[] = []
  /** The names of the members' classes, each once, and where in it each member's is. */
  private readonly classNames: string[] = []
  private readonly classes: number[] = []
  /** Of containers that were asked about before they were found, or that are outside. */
  private readonly decided = new Map<Key, boolean>()

  constructor(top: Persistent) {
    this.top = top
    const root = rootOf(top) as Persistent
    this.connection = (cellOf(top)?.jar ?? cellOf(root)?.jar) as Connection | undefined
    this.root = this.keyOf(root)
  }

  get size(): number {
    return this.keys.length
  }

  /** The number and the class of what a state refers to; undefined if it is no member. */
  reference(met: Persistent | Reference): Reference | undefined {
    const number = this.numbers.get(this.keyOf(met))
    return number === undefined ? undefined : new Reference(number, this.classNames[this.classes[number - 1]!]!)
  }

  numberOf(object: Persistent): number | undefined {
    return this.numbers.get(this.keyOf(object))
  }

  /** A member as it is exported. */
  read(number: number): Member {
    return this.member(this.keys[number - 1]!)
  }

  /** A member's class and oid, for messages. */
  described(number: number): { toString(): string } {
    return { toString: () => describe(this.object(this.keys[number - 1]!)) }
  }

  /**
   * Finds all members, by following their references, and lets others run meanwhile.
   * @returns about how many bytes their states have, and how many the contents of blobs
   * @throws {ObjectError} INVALID_REFERENCE, UNKNOWN_CLASS, DATABASE_CORRUPT
   */
  async explore(): Promise<{ states: number; contents: number }> {
    const pause = pauses()
    const outward = new Set<Key>()
    const refer = new Set<number>()
    let states = 0
    let contents = 0
    let unknownBlob: number | undefined
    let found: Key[] = [this.keyOf(this.top)]
    let finders: number[] = [0]
    for (let at = 0; at < found.length; at++) {
      const key = found[at]!
      const finder = finders[at]!
      if (at === FOLLOWED) {
        found = found.slice(at)
        finders = finders.slice(at)
        at = 0
      }
      await pause()
      if (this.numbers.has(key)) continue
      const member = outward.has(key) ? undefined : this.member(key)
      if (member === undefined || (finder !== 0 && !this.isInside(key, member))) {
        outward.add(key)
        refer.add(finder)
        continue
      }
      const number = this.enter(key, finder, member.className)
      if (member.object instanceof Blob) contents += member.object.size
      if (isUnknownBlob(member)) unknownBlob ??= number
      const bytes = pickle(
        member.state,
        met => {
          const next = this.keyOf(met)
          if (!this.numbers.has(next)) {
            found.push(next)
            finders.push(number)
          }
          states += REFERENCE + (met instanceof Reference ? met.className : met.constructor.name).length
          return NOWHERE
        },
        this.described(number),
      )
      states += bytes.length
    }
    this.assertClosed(outward, refer)
    if (unknownBlob !== undefined) throw this.unknownBlob(unknownBlob)
    return { states, contents }
  }

  private keyOf(met: Persistent | Reference): Key {
    if (met instanceof Reference) return met.oid
    const { oid, jar } = cellOf(met) as Cell
    return oid !== 0 && jar === this.connection ? oid : met
  }

  private object(key: Key): Persistent {
    return typeof key === 'number' ? (this.connection as Connection).get(key) : key
  }

  private member(key: Key): Member {
    const member = (typeof key === 'number' && this.asStored(key)) || this.asItIs(this.object(key))
    const { state } = member
    if (key !== this.keyOf(this.top)) return member
    return {
      ...member,
      state: asState(Object.fromEntries(Object.entries(state).filter(([name]) => !PLACE.includes(name)))),
    }
  }

  /** An object that has to be read neither from memory nor by the upgrade of its class. */
  private asStored(oid: Oid): Member | undefined {
    const record = this.connection?.unchanged(oid)
    if (record === undefined) return undefined
    const entry = classNamed(record.className)
    if (entry !== undefined && (entry.version !== record.version || takesMore(entry.ctor.prototype))) return undefined
    const state = decoded(record)
    if (state === undefined) return undefined
    return {
      className: entry?.name ?? record.className,
      version: record.version,
      state,
      object: undefined,
    }
  }

  private asItIs(object: Persistent): Member {
    const className = classNameOf(object)
    const version = entryOf(object.constructor)?.version ?? brokenVersion(object)
    return { className, version, state: (cellOf(object) as Cell).complete(), object }
  }

  private enter(key: Key, finder: number, className: string): number {
    const number = this.keys.push(key)
    this.numbers.set(key, number)
    this.finders.push(finder)
    let at = this.classNames.indexOf(className)
    if (at < 0) at = this.classNames.push(className) - 1
    this.classes.push(at)
    return number
  }

  private isInside(key: Key, { state }: Member): boolean {
    return isWithin(key, {
      parentOf: at => {
        const parent = containerIn(at === key ? state : this.member(at).state)
        return parent && this.keyOf(parent)
      },
      known: at => (this.numbers.has(at) ? true : this.decided.get(at)),
      decide: (at, answer) => void (at !== key && this.decided.set(at, answer)),
      root: this.root,
    })
  }

  private assertClosed(outward: ReadonlySet<Key>, from: ReadonlySet<number>): void {
    if (outward.size === 0) return
    const named: string[] = []
    let count = 0
    for (const number of from)
      pickle(
        this.read(number).state,
        (met, { path }) => {
          const to = this.keyOf(met)
          if (outward.has(to) && ++count <= NAMED)
            named.push(`${this.whereabouts(number)}, attribute ${path}, to ${this.object(to).physicalPath}`)
          return NOWHERE
        },
        this.described(number),
      )
    const more = count > NAMED ? `; and ${count - NAMED} more` : ''
    throw new ObjectError(
      'INVALID_REFERENCE',
      `${this.top.physicalPath} cannot be exported, because references lead out of it: ${named.join('; ')}${more}; export a common container, or take them out`,
    )
  }

  /** The content of a blob whose class is not registered cannot be known to belong to it, and would be left behind. */
  private unknownBlob(number: number): ObjectError {
    return new ObjectError(
      'UNKNOWN_CLASS',
      `${this.whereabouts(number)} cannot be exported: it seems to be a blob, but its class '${this.read(number).className}' is not registered; register it first`,
    )
  }

  /** Where a member is, for messages: its path, or that of what it is a part of. */
  private whereabouts(number: number): string {
    let at = number
    const object = (which: number) => this.object(this.keys[which - 1]!)
    while (at > 1 && object(at).__name__ === undefined) at = this.finders[at - 1]!
    const path = object(at).physicalPath
    return at === number ? path : `${path} (${this.described(number)})`
  }
}

function isUnknownBlob({ className, state }: Member): boolean {
  if (classNamed(className) !== undefined) return false
  return isContentId((state.content as { id?: unknown } | null | undefined)?.id)
}

/** Whether an object of that class is exported as more, or as something else, than its record. */
const takesMore = (prototype: unknown): boolean =>
  [Blob, PersistentRef].some(each => prototype instanceof each || prototype === each.prototype)

/** A record's state; undefined if it cannot be read, which loading the object will say better. */
function decoded(record: RecordBody): State | undefined {
  try {
    return asState(
      record instanceof WholeRecord
        ? unpickle(record.bytes, asItStands, record.start)
        : unpickle(record.state, asItStands),
    )
  } catch {
    return undefined
  }
}
