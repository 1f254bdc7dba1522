/**
 * Finding objects by path and by name.
 *
 * A path is names joined by `/`; a leading `/` starts at the root, otherwise at the object given. Names are looked
 * up in containers only, with `get`: traversal never reads an attribute. Every object in the tree knows its container
 * (`__parent__`) and its name there (`__name__`).
 */
import { shown, unexpected } from './arguments.ts'
import { ObjectError } from './errors.ts'

/** What can be walked through: something that finds its children by name. */
export interface Container {
  get(name: string): unknown
}

/** What an object in the tree carries. The root has neither. */
export interface Located {
  __parent__?: Located | undefined
  __name__?: string | undefined
}

export function isContainer(value: unknown): value is Container {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Container).get === 'function' &&
    'isContainer' in value
  )
}

/**
 * The containers of an object from the innermost outward, the root last.
 * @throws {ObjectError} DATABASE_CORRUPT if a stored object was made to be in what is no object, or around itself
 */
export function* parents(object: Located): Generator<Located> {
  const circle = circles(object)
  for (let at = containerOf(object); at !== undefined; at = containerOf(at)) {
    if (circle(at)) throw misplaced(at, 'its containers lead around to itself')
    yield at
  }
}

function containerOf(object: Located): Located | undefined {
  const container: unknown = object.__parent__
  if (container === undefined || (typeof container === 'object' && container !== null)) return container as Located
  throw misplaced(object, `its container is ${shown(container)}`)
}

function misplaced(object: Located, what: string): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `${object.constructor.name} '${String(object.__name__)}' is nowhere in the tree: ${what}`,
  )
}

/** @returns whether a way from `start` on, told of each step, has come around (Brent's algorithm: no memory of the way) */
export function circles<At>(start: At): (at: At) => boolean {
  let mark = start
  let power = 1
  let left = power
  return at => {
    if (at === mark) return true
    left -= 1
    if (left === 0) {
      mark = at
      power *= 2
      left = power
    }
    return false
  }
}

/** The root of the tree that holds `object`. */
export function rootOf(object: Located): Located {
  let at = object
  for (const parent of parents(object)) at = parent
  return at
}

/** The absolute path of `object`: `/` for the root, `/mail/XYZ` below. */
export function physicalPath(object: Located): string {
  if (object.__name__ === undefined) return '/'
  const names: string[] = [object.__name__]
  for (const { __name__: name } of parents(object)) {
    if (name === undefined) break
    names.push(name)
  }
  return `/${names.reverse().join('/')}`
}

/**
 * Follows `path` from `start`.
 * @returns the object at its end
 * @throws {ObjectError} NOT_FOUND naming the part of the path that does exist
 */
export function traverse(start: Located, path: string): unknown {
  if (typeof path !== 'string') throw unexpected('traverse', 'a path', path)
  if (typeof start !== 'object' || start === null) throw unexpected('traverse', 'an object to start from', start)
  let at: unknown = path.startsWith('/') ? rootOf(start) : start
  for (const name of path.split('/')) {
    if (name === '' || name === '.') continue
    const next = name === '..' ? (containerOf(at as Located) ?? at) : isContainer(at) ? at.get(name) : undefined
    if (next === undefined) throw notFound(path, at, name)
    at = next
  }
  return at
}

/**
 * Looks `name` up in the container of `object` (or in `object` itself if it is one) and then outward to the root;
 * the nearest wins. Zope's acquisition, of objects only.
 * @throws {ObjectError} NOT_FOUND
 */
export function acquire(object: Located, name: string): unknown {
  if (typeof name !== 'string') throw unexpected('acquire', 'a name', name)
  if (typeof object !== 'object' || object === null) throw unexpected('acquire', 'an object', object)
  const here = isContainer(object) ? object.get(name) : undefined
  if (here !== undefined) return here
  for (const at of parents(object)) {
    const found = isContainer(at) ? at.get(name) : undefined
    if (found !== undefined) return found
  }
  throw new ObjectError(
    'NOT_FOUND',
    `no object named '${name}' in ${physicalPath(object)} or in any container outward from it`,
  )
}

function notFound(path: string, at: unknown, name: string): ObjectError {
  const where = physicalPath(at as Located)
  const why = isContainer(at) ? `${where} has no object '${name}'` : `${where} is not a container`
  return new ObjectError('NOT_FOUND', `nothing at '${path}': ${why}`)
}
