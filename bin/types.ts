/** The types of objects that `add` can make. */
import { entryOf } from '../lib/index.ts'
import { Folder, MaildropHost, ObjectError, type Persistent, Template } from '../objects/index.ts'

const TYPES: Readonly<Record<string, () => Persistent>> = {
  Folder: () => new Folder(),
  MaildropHost: () => new MaildropHost(),
  Template: () => new Template(),
}

export const typeNames = Object.keys(TYPES)

/** @throws {ObjectError} UNKNOWN_CLASS */
export function newObject(type: string): Persistent {
  const make = Object.hasOwn(TYPES, type) ? TYPES[type] : undefined
  if (make === undefined)
    throw new ObjectError('UNKNOWN_CLASS', `there is no type '${type}'; expected ${typeNames.join(', ')}`)
  return make()
}

/** The name under which an object's class is registered. */
export function typeOf(object: Persistent): string {
  return entryOf(object.constructor)?.name ?? object.constructor.name
}
