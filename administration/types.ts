/** The types of objects that `add` can make: those of the package, and those that the application registers (`--require`). */
import { entryOf } from '../lib/index.ts'
import {
  Broken,
  File,
  Folder,
  MaildropHost,
  ObjectError,
  OrderedFolder,
  type Persistent,
  Template,
} from '../objects/index.ts'

const TYPES: Readonly<Record<string, () => Persistent>> = {
  Folder: () => new Folder(),
  MaildropHost: () => new MaildropHost(),
  Template: () => new Template(),
  OrderedFolder: () => new OrderedFolder(),
  File: () => new File(),
}

export const typeNames = Object.keys(TYPES)

/** @throws {ObjectError} UNKNOWN_CLASS */
export function newObject(type: string): Persistent {
  const make = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (make === undefined)
    throw new ObjectError('UNKNOWN_CLASS', `there is no type '${type}'; expected ${typeNames.join(', ')}`)
  return make()
}

/** The name under which an object's class is registered; for one of an application's own that is not known here, its record's. */
export function typeOf(object: Persistent): string {
  if (object instanceof Broken) return object._p_className
  return entryOf(object.constructor)?.name ?? object.constructor.name
}

/** What people call it. */
export function titleOf(object: Persistent): string {
  return 'title' in object && typeof object.title === 'string' ? object.title : ''
}
