/**
 * What belongs to an object: its subtree, as it is copied and exported.
 *
 * An object is inside if its containers (`__parent__`) lead up to the top of the subtree, or end at an object that is in no container: that
 * one is a part of whatever refers to it (a BTree's node, a PersistentMap). The root of the tree is inside nothing but itself.
 */
import { adoptContent, Blob } from './blob.ts'
import type { Connection } from './connection.ts'
import { ObjectError } from './errors.ts'
import { pauses } from './pauses.ts'
import { asState, Cell, cellOf, type Persistent, type State } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { pickle, Reference, unpickle } from './pickle.ts'
import { entryOf } from './registry.ts'
import type { BlobContent } from './storage/blob-store.ts'
import { rootOf } from './traversal.ts'

/** Is told of a reference that leads out of the subtree: from an object, at an attribute path, to another object. */
export type Outward = (from: Persistent, path: string, to: Persistent) => void

/** The objects of a subtree, by number: the top is 1, the others follow as they are found. */
export class Subtree {
  readonly members: Persistent[] = []
  private readonly numbers = new Map<Persistent, number>()
  /** By which member each other one was found. */
  private readonly finders = new Map<Persistent, Persistent>()
  private readonly decided = new Map<Persistent, boolean>()
  private readonly top: Persistent
  private readonly root: unknown

  constructor(top: Persistent) {
    this.top = top
    this.root = rootOf(top)
    this.decided.set(top, true)
    this.enter(top)
  }

  /** The number of a member; undefined for an object that is not one, or has not been found yet. */
  numberOf(object: Persistent): number | undefined {
    return this.numbers.get(object)
  }

  /** The number of an object if it is inside, which makes it a member; undefined if it is outside. */
  reach(object: Persistent, from: Persistent): number | undefined {
    const known = this.numbers.get(object)
    if (known !== undefined || !this.isInside(object)) return known
    this.finders.set(object, from)
    return this.enter(object)
  }

  /** Where a member is, for messages: its path, or that of what it is a part of. */
  whereabouts(member: Persistent): string {
    let at = member
    for (let next = this.finders.get(at); at.__name__ === undefined && next !== undefined; next = this.finders.get(at))
      at = next
    return at === member ? at.physicalPath : `${at.physicalPath} (${describe(member)})`
  }

  /**
   * Finds all members, by following their references. Loads each once, and lets others run meanwhile.
   * @returns about how many bytes their states have
   */
  async explore(outward: Outward): Promise<number> {
    const pause = pauses()
    let bytes = 0
    for (const from of this.members) {
      const state = pickle(
        this.stateOf(from),
        (met, place) => {
          const object = met as Persistent
          if (this.reach(object, from) === undefined) outward(from, place.path, object)
          bytes += object.constructor.name.length + REFERENCE
          return NOWHERE
        },
        describe(from),
      )
      bytes += state.length
      await pause()
    }
    return bytes
  }

  /** A member's attributes as they are copied, without references that nobody followed: the top's are without its place. */
  stateOf(member: Persistent): State {
    const state = (cellOf(member) as Cell).complete()
    if (member !== this.top) return state
    return asState(Object.fromEntries(Object.entries(state).filter(([name]) => !PLACE.includes(name))))
  }

  private enter(object: Persistent): number {
    const number = this.members.push(object)
    this.numbers.set(object, number)
    return number
  }

  private isInside(object: Persistent): boolean {
    const asked: Persistent[] = []
    let answer: boolean | undefined
    for (let at = object; answer === undefined; ) {
      answer = this.decided.get(at)
      if (answer !== undefined) break
      asked.push(at)
      const parent = (cellOf(at) as Cell).loaded().__parent__ as Persistent | undefined
      if (parent === undefined) answer = at !== this.root
      else at = parent
    }
    for (const each of asked) this.decided.set(each, answer)
    return answer
  }
}

const PLACE = ['__parent__', '__name__']
const NOWHERE = new Reference(0, '')
/** About how many bytes a reference has more than one that leads nowhere, besides the name of the class. */
const REFERENCE = 2

/** An object's class and oid, for messages. */
export function describe(object: Persistent): string {
  const { brokenName, oid } = cellOf(object) as Cell
  return `${brokenName ?? object.constructor.name}${oid === 0 ? '' : ` (object ${oid})`}`
}

/** The name under which records know the class of an object. */
export function classNameOf(object: Persistent): string {
  const name = cellOf(object)?.brokenName ?? entryOf(object.constructor)?.name
  if (name !== undefined) return name
  const { name: unknown } = object.constructor
  throw new ObjectError(
    'UNKNOWN_CLASS',
    `class ${unknown} is not registered, its objects cannot be exported; call registerClass('${unknown}', ${unknown}) first`,
  )
}

/**
 * A deep copy of an object's subtree: new objects throughout, which share nothing with the original. References that lead out of it
 * still lead there. The copy is in no container.
 *
 * @param connection the one that the copy will be stored in; needed if there are blobs, or a PersistentRef leads to something that is copied
 * @throws {ObjectError} UNKNOWN_CLASS if the class of an object inside is not registered; INVALID_VALUE for what cannot be stored
 */
export function copyOf<T extends Persistent>(top: T, connection: Connection | undefined): T {
  const subtree = new Subtree(top)
  const copies: Cell[] = []
  const copy = (number: number): Persistent => {
    copies[number] ??= new Cell(Object.getPrototypeOf(subtree.members[number - 1]), undefined)
    return copies[number].proxy
  }
  const copiesByOid = new Map<number, Persistent>()
  copy(1)
  for (const [i, original] of subtree.members.entries()) {
    const { oid, brokenName } = cellOf(original) as Cell
    if (brokenName !== undefined)
      throw new ObjectError(
        'UNKNOWN_CLASS',
        `object ${oid} cannot be copied: its class '${brokenName}' is not registered; register it first`,
      )
    const outside: Persistent[] = []
    const bytes = pickle(
      subtree.stateOf(original),
      met => {
        const object = met as Persistent
        const number = subtree.reach(object, original)
        return new Reference(number ?? -outside.push(object), '')
      },
      describe(original),
    )
    const state = unpickle(bytes, ({ oid: number }) => (number > 0 ? copy(number) : outside[-number - 1]))
    copy(i + 1)
    copies[i + 1]!.state = asState(state)
    if (oid !== 0) copiesByOid.set(oid, copies[i + 1]!.proxy)
  }
  for (const { proxy, state } of copies.slice(1)) {
    if (proxy instanceof Blob && state?.content !== undefined && connection !== undefined)
      adoptContent(connection, proxy, state.content as BlobContent, false)
    const target = proxy instanceof PersistentRef ? copiesByOid.get(proxy.oid) : undefined
    if (target !== undefined && connection !== undefined) (state as State).oid = connection.add(target)
  }
  return copies[1]!.proxy as T
}
