/**
 * Folder: a container of objects by name (Zope's BTreeFolder).
 *
 * Children lie in a BTree, in the order of their names, so a folder of 100,000 is neither loaded nor written whole, and transactions that
 * add or remove different children do not conflict. A child knows its folder and its name; it can be in one folder only.
 */
import {
  Broken,
  BTree,
  type Container,
  checkOptions,
  copyOf,
  ObjectError,
  Persistent,
  type PersistentClass,
  parents,
  physicalPath,
  type Range,
  ROOT_OID,
  registerClass,
  SOUND,
  type StateRecord,
  traverse,
  unexpected,
} from '../lib/index.ts'
import { announce, connectionOf, type Place } from './events.ts'
import { checkId } from './names.ts'
import type { Properties } from './properties.ts'

/** A container of persistent objects by name, efficient with 100,000 of them. */
export class Folder extends Persistent implements Container {
  static properties: Properties = { title: { type: 'string', description: 'what people call it' } }

  title = ''
  protected readonly children = new BTree<Persistent>()

  get isContainer(): true {
    return true
  }

  [SOUND]({ children }: StateRecord): boolean {
    return children instanceof BTree
  }

  /** The number of children. */
  get size(): number {
    return this.children.size
  }

  /** The child of that name; undefined if there is none. */
  get(id: string): Persistent | undefined {
    return this.children.get(id)
  }

  has(id: string): boolean {
    return this.children.has(id)
  }

  /**
   * Puts `object` into the folder.
   * @returns the object
   * @throws {ObjectError} INVALID_ID, DUPLICATE_ID; WRONG_TYPE if it is not Persistent; INVALID_ARGUMENT if it is in a folder already
   */
  add<T extends Persistent>(id: string, object: T): T {
    this.put(id, object)
    try {
      announce(this, 'added', () => placesIn(object, object.physicalPath))
    } catch (error) {
      this.take(id)
      throw error
    }
    return object
  }

  /**
   * Takes the child out of the folder. One of an unknown class can be taken out as well; it stays as it is, and can be put back only here.
   * @returns the child
   * @throws {ObjectError} NOT_FOUND
   */
  delete(id: string): Persistent {
    const { physicalPath } = this.child(id)
    const child = this.take(id)
    if (child instanceof Folder) child.relyOnContents()
    try {
      announce(this, 'removed', () => placesIn(child, physicalPath))
    } catch (error) {
      this.put(id, child)
      throw error
    }
    return child
  }

  /** @throws {ObjectError} NOT_FOUND, INVALID_ID, DUPLICATE_ID; on failure nothing has changed */
  rename(id: string, newId: string): void {
    this.move(id, this, newId)
  }

  /**
   * Puts the child into another folder.
   * @throws {ObjectError} NOT_FOUND, INVALID_ID, DUPLICATE_ID, INVALID_ARGUMENT (into itself), UNKNOWN_CLASS; on failure nothing has changed
   */
  move(id: string, folder: Folder, newId: string = id): void {
    checkFolder('move', folder)
    const child = this.child(id)
    if (folder === this && newId === id) return
    if (isFixed(child))
      throw new ObjectError(
        'UNKNOWN_CLASS',
        `${child.physicalPath} cannot be moved: its class '${child._p_className}' is not registered; register it first`,
      )
    const oldPath = child.physicalPath
    if ([folder, ...parents(folder)].includes(child as Folder))
      throw new ObjectError('INVALID_ARGUMENT', `${oldPath} cannot be moved into itself (${folder.physicalPath})`)
    this.take(id)
    try {
      folder.put(newId, child)
      announce(folder, 'moved', () => placesIn(child, child.physicalPath, oldPath))
    } catch (error) {
      if (child.__parent__ === folder) folder.take(newId)
      this.put(id, child)
      throw error
    }
  }

  /**
   * Puts a deep copy of the child into a folder: new objects throughout. References that lead out of what is copied still lead there.
   * @param folder by default this one
   * @param newId by default `id`; where that name is taken, `copy_of_<name>`, `copy2_of_<name>` and so on (as Zope does)
   * @returns the copy
   * @throws {ObjectError} NOT_FOUND, INVALID_ID; UNKNOWN_CLASS if the class of something in it is not registered
   */
  copy(id: string, folder: Folder = this, newId: string = id): Persistent {
    checkFolder('copy', folder)
    const child = this.child(id)
    checkId(newId)
    let name = newId
    for (let n = 1; folder.has(name); n++) name = `copy${n === 1 ? '' : n}_of_${newId}`
    return folder.add(name, copyOf(child, connectionOf(folder)))
  }

  /**
   * The children's names in order, of all or of those of a class.
   * @param range which names; its limit counts before those of other classes are left out
   */
  ids(type?: PersistentClass, range?: Range): string[] {
    if (type === undefined && range !== undefined) return [...this.children.keys(range)] as string[]
    return this.entries(type, range).map(([id]) => id)
  }

  /** The children in the order of their names, of all or of those of a class; `range` as for `ids`. */
  values<T extends Persistent = Persistent>(type?: PersistentClass<T>, range?: Range): T[] {
    return this.entries(type, range).map(([, child]) => child)
  }

  /** The same with their names. */
  entries<T extends Persistent = Persistent>(type?: PersistentClass<T>, range: Range = {}): [id: string, child: T][] {
    checkType('entries', type)
    const found = [...this.children.entries(range)] as [string, T][]
    return type === undefined ? found : found.filter(([, child]) => child instanceof type)
  }

  /**
   * Follows a path, absolute or from here, and checks what is found.
   * @throws {ObjectError} NOT_FOUND, WRONG_TYPE
   */
  traverse<T extends Persistent = Persistent>(path: string, type?: PersistentClass<T>): T {
    checkType('traverse', type)
    const found = traverse(this, path) as T
    if (type !== undefined && !(found instanceof type))
      throw new ObjectError(
        'WRONG_TYPE',
        `${path} is a ${(found as Persistent).constructor.name}, expected a ${type.name}`,
      )
    return found
  }

  /**
   * Puts a new object at a path, absolute or from here.
   * @param options.parents make the folders that are missing on the way
   * @returns the object
   * @throws {ObjectError} NOT_FOUND (with the remedy), WRONG_TYPE, INVALID_ID, DUPLICATE_ID
   */
  create<T extends Persistent>(path: string, object: T, options: { readonly parents?: boolean } = {}): T {
    if (typeof path !== 'string') throw unexpected('create', 'a path', path)
    const { parents = false } = checkOptions('create', options)
    const names = path.split('/').filter(name => name !== '')
    const id = names.pop()
    if (id === undefined) throw new ObjectError('INVALID_ID', `'${path}' names no object to create`)
    let at: Persistent = path.startsWith('/') ? this.traverse('/') : this
    for (const name of names) at = step(at, name, path, parents)
    if (!(at instanceof Folder)) throw notAFolder(at, path)
    return at.add(id, object)
  }

  /** Adds a child, and nobody hears of it. */
  protected put(id: string, object: Persistent): void {
    checkId(id)
    if (!(object instanceof Persistent))
      throw new ObjectError('WRONG_TYPE', `'${id}' in ${this.physicalPath}: expected a Persistent object`)
    // what cannot be changed says still where it was
    const returns = isFixed(object) && object.__parent__ === this && object.__name__ === id
    if (object.__parent__ !== undefined && !returns && !isLeftOver(object))
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `${physicalPath(object)} is in the tree already; use move() to put it into ${this.physicalPath}`,
      )
    const around = [this, ...parents(this)] as Persistent[]
    if (around.includes(object))
      throw new ObjectError('INVALID_ARGUMENT', `${this.physicalPath} cannot be put into itself`)
    if (this.has(id))
      throw new ObjectError(
        'DUPLICATE_ID',
        `${this.physicalPath} has an object '${id}' already; choose another name or delete that one`,
      )
    relyOnPlaces(around)
    this.children.set(id, object)
    if (returns) return
    object.__parent__ = this
    object.__name__ = id
  }

  /** Takes a child out, and nobody hears of it. */
  protected take(id: string): Persistent {
    const child = this.child(id)
    relyOnPlaces([this, ...parents(this)] as Persistent[])
    this.children.delete(id)
    if (isFixed(child)) return child
    child.__parent__ = undefined
    child.__name__ = undefined
    return child
  }

  /** Relies on what is in here, and in the folders in here: what is put there meanwhile would go with it unseen. */
  private relyOnContents(): void {
    this.children.readCurrentKeys()
    for (const child of this.children.values()) if (child instanceof Folder) child.relyOnContents()
  }

  private child(id: string): Persistent {
    const child = this.get(id)
    if (child === undefined) throw new ObjectError('NOT_FOUND', `${this.physicalPath} has no object '${id}'`)
    return child
  }
}

/**
 * Relies on where folders are: were one of them taken out of the tree meanwhile, or put into what is put into it now, what is put into it would be
 * lost. Their other attributes may change.
 */
function relyOnPlaces(folders: readonly Persistent[]): void {
  for (const folder of folders) if (folder._p_oid !== ROOT_OID) folder._p_jar?.readCurrent(folder, PLACE)
}

const PLACE = ['__parent__']

/** An object and all that is in it, the outer first, with their paths. */
function* placesIn(object: Persistent, path: string, oldPath?: string): Generator<Place> {
  yield { object, path, ...(oldPath !== undefined && { oldPath }) }
  if (!(object instanceof Folder)) return
  for (const [id, child] of object.entries())
    yield* placesIn(child, `${path}/${id}`, oldPath === undefined ? undefined : `${oldPath}/${id}`)
}

function step(at: Persistent, name: string, path: string, parents: boolean): Persistent {
  if (!(at instanceof Folder)) throw notAFolder(at, path)
  const next = at.get(name)
  if (next !== undefined) return next
  if (!parents)
    throw new ObjectError(
      'NOT_FOUND',
      `'${path}' cannot be created: ${at.physicalPath} has no folder '${name}'; create it first, or ask for parents (--parents, { parents: true })`,
    )
  return at.add(name, new Folder())
}

/** Whether a new object only says where it was put by what has been taken back since. */
function isLeftOver(object: Persistent): boolean {
  const { __parent__: parent, __name__: name } = object
  if (object._p_jar !== undefined || !(parent instanceof Folder)) return false
  try {
    return parent.get(name as string) !== object
  } catch (error) {
    if (error instanceof ObjectError && error.code === 'CONNECTION_CLOSED') return true
    throw error
  }
}

/** Whether an object is stored as it is for good: its class is not registered. */
const isFixed = (object: Persistent): object is Broken => object instanceof Broken && object._p_jar !== undefined

/** @throws {ObjectError} INVALID_ARGUMENT */
export function checkFolder(operation: string, folder: unknown): void {
  if (!(folder instanceof Folder)) throw unexpected(operation, 'a Folder', folder)
}

function checkType(operation: string, type: unknown): void {
  const isClass = typeof type === 'function' && (type === Persistent || type.prototype instanceof Persistent)
  if (type !== undefined && !isClass) throw unexpected(operation, 'a class that extends Persistent', type)
}

function notAFolder(at: Persistent, path: string): ObjectError {
  return new ObjectError(
    'WRONG_TYPE',
    `'${path}' cannot be created: ${at.physicalPath} is a ${at.constructor.name}, not a folder`,
  )
}

registerClass('Folder', Folder)
