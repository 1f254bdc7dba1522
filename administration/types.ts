/** The types of objects: those of the package, and those that the application registers (`--require`). */
import { type ClassEntry, entryOf, registeredClasses } from '../lib/index.ts'
import { Broken, ObjectError, type Persistent, type Properties, propertiesOf } from '../objects/index.ts'

/** What people put into the tree. */
const SHIPPED = ['Folder', 'OrderedFolder', 'Template', 'File', 'MaildropHost']
/** What other objects are made of, and the root. */
const PARTS = [
  'Application',
  'Blob',
  'BTree',
  'BTreeBranch',
  'BTreeLeaf',
  'Counter',
  'PersistentList',
  'PersistentMap',
  'PersistentRef',
  'SentKeys',
]

/** The types that `add` can make. */
export function addableTypes(): ClassEntry[] {
  const classes = registeredClasses().filter(({ name }) => !PARTS.includes(name))
  const rank = ({ name }: ClassEntry) => (SHIPPED.indexOf(name) + SHIPPED.length) % SHIPPED.length
  return classes.sort((a, b) => Number(isOwn(a)) - Number(isOwn(b)) || rank(a) - rank(b))
}

/** Whether the application brought it. */
export const isOwn = ({ name }: ClassEntry): boolean => !SHIPPED.includes(name)

/** What can be set of the objects of a class. */
export const declaredBy = ({ ctor }: ClassEntry): Properties =>
  propertiesOf(Object.create(ctor.prototype) as Persistent)

/** @throws {ObjectError} UNKNOWN_CLASS; INVALID_ARGUMENT for a class that cannot be made without arguments */
export function newObject(type: string): Persistent {
  const types = addableTypes()
  const entry = types.find(({ name }) => name === type)
  if (entry === undefined)
    throw new ObjectError(
      'UNKNOWN_CLASS',
      `there is no type '${type}'; expected ${types.map(({ name }) => name).join(', ')}; classes of your own come with --require`,
    )
  try {
    return new (entry.ctor as new () => Persistent)()
  } catch (cause) {
    if (!isOwn(entry)) throw cause
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `a ${type} cannot be made without arguments: ${(cause as Error).message}; make it in a program`,
      { cause },
    )
  }
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
