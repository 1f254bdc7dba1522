/**
 * Finding objects by path and by name.
 *
 * A path is names joined by `/`; a leading `/` starts at the root, otherwise at the object given. Names are looked
 * up in containers only, with `get`: traversal never reads an attribute. Every object in the tree knows its container
 * (`__parent__`) and its name there (`__name__`).
 */
import { unexpected } from './arguments.ts'
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

/** The containers of an object from the innermost outward, the root last. */
export function* parents(object: Located): Generator<Located> {
  for (let at = object.__parent__; at !== undefined; at = at.__parent__) yield at
}

/** The root of the tree that holds `object`. */
export function rootOf(object: Located): Located {
  let at = object
  for (const parent of parents(object)) at = parent
  return at
}

/** The absolute path of `object`: `/` for the root, `/mail/XYZ` below. */
export function physicalPath(object: Located): string {
  const names: string[] = []
  for (let at: Located | undefined = object; at?.__name__ !== undefined; at = at.__parent__) names.unshift(at.__name__)
  return `/${names.join('/')}`
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
    const next = name === '..' ? ((at as Located).__parent__ ?? at) : isContainer(at) ? at.get(name) : undefined
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
  for (let at: Located | undefined = object; at !== undefined; at = at.__parent__) {
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
