/** The states of objects, and how those of a class are kept. */

/** Attributes by name, and nothing else: no prototype answers for a name that is not there. */
export type State = Record<string, unknown>
const NOTHING = Object.freeze(Object.create(null))
/** Makes a decoded record a state. */
export function asState(record: Record<string, unknown>): State {
  return Object.setPrototypeOf(record, NOTHING)
}

/** Classes that mark themselves changed (BTree nodes and the like, which never hand out an inner value). */
export const EXPLICIT: unique symbol = Symbol('explicit change tracking')
/**
 * EXPLICIT classes whose arrays hold many references, of which few are followed (BTree nodes). Their loaded states are *bare*: in an array, references
 * stand until somebody asks for what they lead to (`follow`), and the array may be one that others read, too, and then is frozen (`ownState`).
 * Reading such an attribute in the ordinary way gives all objects their places first.
 */
export const BARE: unique symbol = Symbol('references stay until they are followed')

/**
 * The method of a class that says whether a stored state has what the class's methods rely on; it is called without an object. One that has not is
 * of somebody's making, and refused when it is loaded: without that, methods would fail as if the class were wrong.
 */
export const SOUND: unique symbol = Symbol('whether a stored state can be one of the class')

/** What the objects of a class share. */
export interface Kind {
  /** The target of their proxies. */
  readonly target: object
  /** Whether they mark themselves changed. */
  readonly explicit: boolean
  /** Whether their states are loaded bare. */
  readonly bare: boolean
  /** Whether a stored state can be one of the class (SOUND). */
  readonly sound: ((state: State) => boolean) | undefined
  /** Makes an empty state. One function for each class: the engine learns from the first ones how much room a state needs. */
  readonly newState: new () => State
}
const kinds = new WeakMap<object, Kind>()

/** @param prototype the class's */
export function kindOf(prototype: object): Kind {
  const known = kinds.get(prototype)
  if (known !== undefined) return known
  function StateObject(): void {}
  StateObject.prototype = NOTHING
  const newState = StateObject as unknown as new () => State
  const kind: Kind = {
    target: Object.create(prototype),
    explicit: EXPLICIT in prototype,
    bare: BARE in prototype,
    sound: (prototype as { [SOUND]?: Kind['sound'] })[SOUND],
    newState,
  }
  kinds.set(prototype, kind)
  return kind
}
