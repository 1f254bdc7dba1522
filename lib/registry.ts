/**
 * The classes that records can name.
 *
 * A record names its class by a stable string, never by a module path, so classes may move and be renamed freely:
 * register the new class with the old name in `aliases`. The registry is the process's, as classes are.
 */
import { checkOptions, shown } from './arguments.ts'
import { cellOf } from './cell.ts'
import { isRetryable, messageOf, ObjectError } from './errors.ts'
import { Persistent } from './persistent.ts'
import { MAX_NAME } from './record.ts'

/** A state as a record holds it: attribute names and values. */
export type StateRecord = Record<string, unknown>

/** A class of persistent objects, as it is given to `traverse`, `values` and the like. */
export type PersistentClass<T extends Persistent = Persistent> = abstract new (...args: never[]) => T

export interface ClassOptions {
  /** Version of the class's state, a whole number from 1 to 65535; counts up whenever the state's shape changes. Default 1. */
  readonly version?: number
  /** Turns a state of version `from` into one of the registered version. */
  readonly upgrade?: (state: StateRecord, from: number) => StateRecord
  /** Names under which older records know the class. */
  readonly aliases?: readonly string[]
}

export interface ClassEntry {
  readonly name: string
  readonly ctor: PersistentClass
  readonly version: number
  readonly upgrade: ClassOptions['upgrade']
}

/**
 * The state as the registered version of its class has it.
 * @param whose the object, for the message
 * @throws {ObjectError} UNKNOWN_CLASS if it is of a newer version; INVALID_CLASS if the upgrade function fails or gives no state, except for an
 *   error after which the transaction may run again, which is thrown as it is
 */
export function upgraded(state: StateRecord, entry: ClassEntry, version: number, whose: string): StateRecord {
  const { name, upgrade } = entry
  const place = placeIn(state)
  if (entry.version < version)
    throw new ObjectError(
      'UNKNOWN_CLASS',
      `a record of class '${name}' has version ${version}, newer than the registered ${entry.version} (${whose}${place()}); run newer code`,
    )
  if (entry.version === version || upgrade === undefined) return state
  const failed = (why: string, cause?: unknown) =>
    new ObjectError(
      'INVALID_CLASS',
      `the upgrade function of class '${name}', version ${version} to ${entry.version}, ${why} (${whose}${place()})`,
      cause === undefined ? undefined : { cause },
    )
  try {
    const found: unknown = upgrade(state, version)
    if (found instanceof Promise) found.catch(() => undefined)
    const prototype: unknown = typeof found === 'object' && found !== null ? Object.getPrototypeOf(found) : undefined
    // a copy: what it gives may be frozen, or given for other objects, too
    if (prototype === Object.prototype || prototype === null) return { ...(found as StateRecord) }
    throw failed(
      `must return the attributes as a plain object, and at once; found ${found === null ? 'null' : typeof found}`,
    )
  } catch (error) {
    throw isRetryable(error) || (error instanceof ObjectError && error.code === 'INVALID_CLASS')
      ? error
      : failed(`failed: ${messageOf(error)}`, error)
  }
}

/** Tells where in the tree the object of a state is, as far as that can be read; the state may have been changed meanwhile. */
function placeIn({ __parent__: container, __name__: name }: StateRecord): () => string {
  return () => {
    if (!(container instanceof Persistent)) return ''
    try {
      return ` at ${container.physicalPath.replace(/\/$/, '')}/${String(name)}`
    } catch {
      return `, '${String(name)}' in ${cellOf(container)}`
    }
  }
}

const MAX_VERSION = 0xffff
/** What is registered, by name and alias, and by class; `registerClass` alone changes it. */
export const byName = new Map<string, ClassEntry>()
export const byClass = new Map<PersistentClass, ClassEntry>()

/**
 * Makes `ctor` known to all databases of this process under `name`.
 * Registering the same class under the same name again replaces its options.
 * @throws {ObjectError} INVALID_CLASS if a name belongs to another class, or the class has another name; if a name cannot stand in a record; if it
 *   is no class of persistent objects
 */
export function registerClass(name: string, ctor: PersistentClass, options: ClassOptions = {}): void {
  const { version = 1, upgrade, aliases = [] } = checkOptions('registerClass', options)
  if (typeof ctor !== 'function' || !(ctor === Persistent || ctor.prototype instanceof Persistent))
    throw new ObjectError(
      'INVALID_CLASS',
      `what is registered as ${shown(name)} must be a class that extends Persistent, found ${shown(ctor)}`,
    )
  if (!Number.isInteger(version) || version < 1 || version > MAX_VERSION)
    throw new ObjectError(
      'INVALID_CLASS',
      `version of class ${shown(name)} must be a whole number from 1 to ${MAX_VERSION}, found ${shown(version)}`,
    )
  const known = byClass.get(ctor)
  if (known !== undefined && known.name !== name)
    throw new ObjectError(
      'INVALID_CLASS',
      `class ${ctor.name} is registered as '${known.name}', it cannot be ${shown(name)} too`,
    )
  if (!Array.isArray(aliases))
    throw new ObjectError(
      'INVALID_CLASS',
      `the aliases of class ${ctor.name} must be a list of names, found ${shown(aliases)}`,
    )
  for (const each of [name, ...aliases]) {
    if (typeof each !== 'string' || each === '' || Buffer.byteLength(each) > MAX_NAME || !isWellFormed(each))
      throw new ObjectError(
        'INVALID_CLASS',
        `a name of class ${ctor.name} must be a text of 1 to ${MAX_NAME} bytes in UTF-8, found ${shown(each)}`,
      )
    const other = byName.get(each)
    if (other !== undefined && other.ctor !== ctor)
      throw new ObjectError('INVALID_CLASS', `'${each}' is the name of another class already; choose a different name`)
  }
  if (upgrade !== undefined && typeof upgrade !== 'function')
    throw new ObjectError('INVALID_CLASS', `the upgrade of class '${name}' must be a function, found ${shown(upgrade)}`)
  const entry: ClassEntry = { name, ctor, version, upgrade }
  for (const [each, { ctor: other }] of byName) if (other === ctor) byName.delete(each)
  byClass.set(ctor, entry)
  for (const each of [name, ...aliases]) byName.set(each, entry)
}

const isWellFormed = (text: string): boolean => Buffer.from(text).toString() === text

/** All classes that are registered, in the order of their names. */
export function registeredClasses(): ClassEntry[] {
  return [...byClass.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** The class that records call `name`, by name or alias. */
export function classNamed(name: string): ClassEntry | undefined {
  return byName.get(name)
}

/** How a class is registered, exactly (a subclass does not count as its parent). */
export function entryOf(ctor: unknown): ClassEntry | undefined {
  return byClass.get(ctor as PersistentClass)
}
