/** Which names objects may have in the tree. */
import { ObjectError, shown } from '../lib/index.ts'

const FORBIDDEN = /[\u0000-\u001f\u007f-\u009f/<>&]/

/**
 * Checks a name for an object in a container. It becomes part of paths and of pages.
 * @throws {ObjectError} INVALID_ID saying what is wrong with it
 */
export function checkId(id: unknown): asserts id is string {
  const why = problem(id)
  if (why !== undefined)
    throw new ObjectError(
      'INVALID_ID',
      `${typeof id === 'string' ? JSON.stringify(id) : shown(id)} cannot be the name of an object: ${why}`,
    )
}

function problem(id: unknown): string | undefined {
  if (typeof id !== 'string') return `expected a string, found ${id === null ? 'null' : typeof id}`
  if (id === '') return 'it is empty'
  if (id === '.' || id === '..') return 'it has a meaning in paths'
  if (id.startsWith('_')) return "names that begin with '_' are reserved"
  if (!id.isWellFormed()) return 'it is not well-formed Unicode'
  const found = FORBIDDEN.exec(id)?.[0]
  return found === undefined
    ? undefined
    : `it contains ${JSON.stringify(found)}; control characters and / < > & are refused`
}
