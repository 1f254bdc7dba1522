/**
 * What belongs to an object: its subtree, as it is copied and exported.
 *
 * An object is inside if its containers (`__parent__`) lead up to the top of the subtree, or end at an object that is in no container: that
 * one is a part of whatever refers to it (a BTree's node, a PersistentMap). The root of the tree is inside nothing but itself.
 */
import { shown } from './arguments.ts'
import { adoptContent, Blob } from './blob.ts'
import { Cell, cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import { ObjectError } from './errors.ts'
import type { Persistent } from './persistent.ts'
import { PersistentRef } from './persistent-ref.ts'
import { pickle, Reference, unpickle } from './pickle.ts'
import { entryOf } from './registry.ts'
import { asState, type State } from './state.ts'
import type { BlobContent } from './storage/blob-store.ts'
import { circles, rootOf } from './traversal.ts'

/** The objects of a subtree, by number: the top is 1, the others follow as they are found. */
export class Subtree {
  readonly members: Persistent[] = []
  private readonly numbers = new Map<Persistent, number>()
  private readonly decided = new Map<Persistent, boolean>()
  private readonly top: Persistent
  private readonly root: unknown

  constructor(top: Persistent) {
    this.top = top
    this.root = rootOf(top)
    this.decided.set(top, true)
    this.enter(top)
  }

  /** The number of an object if it is inside, which makes it a member; undefined if it is outside. */
  reach(object: Persistent): number | undefined {
    const known = this.numbers.get(object)
    return known !== undefined || !this.isInside(object) ? known : this.enter(object)
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
    return isWithin(object, {
      parentOf: at => containerIn((cellOf(at) as Cell).loaded()) as Persistent | undefined,
      known: at => this.decided.get(at),
      decide: (at, answer) => void this.decided.set(at, answer),
      root: this.root,
    })
  }
}

/** What tells whether an object is inside. */
interface Within<Key> {
  parentOf(key: Key): Key | undefined
  /** What is known already: the top is inside. */
  known(key: Key): boolean | undefined
  decide(key: Key, answer: boolean): void
  /** The root of the tree. */
  readonly root: unknown
}

/** Whether an object is inside of a subtree, as is said above; `key` is how objects are known. */
export function isWithin<Key>(key: Key, { parentOf, known, decide, root }: Within<Key>): boolean {
  const asked: Key[] = []
  const circle = circles(key)
  let answer: boolean | undefined
  for (let at = key; answer === undefined; ) {
    answer = known(at)
    if (answer !== undefined) break
    asked.push(at)
    const parent = parentOf(at)
    if (parent === undefined) answer = at !== root
    else if (circle(parent)) throw new ObjectError('DATABASE_CORRUPT', 'an object is in a container that is in itself')
    else at = parent
  }
  for (const each of asked) decide(each, answer)
  return answer
}

/** The container that an object's state says it is in. @throws {ObjectError} DATABASE_CORRUPT if that is no object */
export function containerIn({ __parent__: container }: State): Persistent | Reference | undefined {
  if (container === undefined || container instanceof Reference || cellOf(container) !== undefined)
    return container as Persistent | Reference | undefined
  throw new ObjectError(
    'DATABASE_CORRUPT',
    `the container of a stored object is ${shown(container)}, which is no object`,
  )
}

/** Attributes that say where an object is; of the top of what is copied they are left out. */
export const PLACE = ['__parent__', '__name__']

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
        const number = subtree.reach(object)
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
