/**
 * Folder: a container of objects by name (Zope's BTreeFolder).
 *
 * Children lie in a BTree, in the order of their names, so a folder of 100,000 is neither loaded nor written whole, and transactions that
 * add or remove different children do not conflict. A child knows its folder and its name; it can be in one folder only.
 */
import {
  BTree,
  type Container,
  Counter,
  ObjectError,
  Persistent,
  type PersistentClass,
  physicalPath,
  registerClass,
  traverse,
} from '../lib/index.ts'
import { checkId } from './names.ts'
import type { Properties } from './properties.ts'

export class Folder extends Persistent implements Container {
  static properties: Properties = { title: { type: 'string', description: 'what people call it' } }

  title = ''
  protected readonly children = new BTree<Persistent>()
  private readonly count = new Counter()

  get isContainer(): true {
    return true
  }

  /** The number of children. */
  get size(): number {
    return this.count.value
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
    checkId(id)
    if (!(object instanceof Persistent))
      throw new ObjectError('WRONG_TYPE', `'${id}' in ${this.physicalPath}: expected a Persistent object`)
    if (object.__parent__ !== undefined)
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `${physicalPath(object)} is in the tree already; use move() to put it into ${this.physicalPath}`,
      )
    for (let at: Persistent | undefined = this; at !== undefined; at = at.__parent__ as Persistent | undefined)
      if (at === object) throw new ObjectError('INVALID_ARGUMENT', `${this.physicalPath} cannot be put into itself`)
    if (this.has(id))
      throw new ObjectError(
        'DUPLICATE_ID',
        `${this.physicalPath} has an object '${id}' already; choose another name or delete that one`,
      )
    this.children.set(id, object)
    this.count.change(1)
    object.__parent__ = this
    object.__name__ = id
    return object
  }

  /**
   * Takes the child out of the folder.
   * @returns the child
   * @throws {ObjectError} NOT_FOUND
   */
  delete(id: string): Persistent {
    const child = this.child(id)
    this.children.delete(id)
    this.count.change(-1)
    child.__parent__ = undefined
    child.__name__ = undefined
    return child
  }

  /** @throws {ObjectError} NOT_FOUND, INVALID_ID, DUPLICATE_ID; on failure nothing has changed */
  rename(id: string, newId: string): void {
    this.move(id, this, newId)
  }

  /**
   * Puts the child into another folder.
   * @throws {ObjectError} NOT_FOUND, INVALID_ID, DUPLICATE_ID, INVALID_ARGUMENT (into itself); on failure nothing has changed
   */
  move(id: string, folder: Folder, newId: string = id): void {
    const child = this.child(id)
    if (folder === this && newId === id) return
    this.delete(id)
    try {
      folder.add(newId, child)
    } catch (error) {
      this.add(id, child)
      throw error
    }
  }

  /** The children's names in order, of all or of those of a class. */
  ids(type?: PersistentClass): string[] {
    return this.entries(type).map(([id]) => id)
  }

  values<T extends Persistent = Persistent>(type?: PersistentClass<T>): T[] {
    return this.entries(type).map(([, child]) => child)
  }

  entries<T extends Persistent = Persistent>(type?: PersistentClass<T>): [id: string, child: T][] {
    const found = [...this.children.entries()] as [string, T][]
    return type === undefined ? found : found.filter(([, child]) => child instanceof type)
  }

  /**
   * Follows a path, absolute or from here, and checks what is found.
   * @throws {ObjectError} NOT_FOUND, WRONG_TYPE
   */
  traverse<T extends Persistent = Persistent>(path: string, type?: PersistentClass<T>): T {
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
    const names = path.split('/').filter(name => name !== '')
    const id = names.pop()
    if (id === undefined) throw new ObjectError('INVALID_ID', `'${path}' names no object to create`)
    let at: Persistent = path.startsWith('/') ? this.traverse('/') : this
    for (const name of names) at = step(at, name, path, options.parents ?? false)
    if (!(at instanceof Folder)) throw notAFolder(at, path)
    return at.add(id, object)
  }

  private child(id: string): Persistent {
    const child = this.get(id)
    if (child === undefined) throw new ObjectError('NOT_FOUND', `${this.physicalPath} has no object '${id}'`)
    return child
  }
}

function step(at: Persistent, name: string, path: string, parents: boolean): Persistent {
  if (!(at instanceof Folder)) throw notAFolder(at, path)
  const next = at.get(name)
  if (next !== undefined) return next
  if (!parents)
    throw new ObjectError(
      'NOT_FOUND',
      `'${path}' cannot be created: ${at.physicalPath} has no folder '${name}'; create it first, or ask for parents`,
    )
  return at.add(name, new Folder())
}

function notAFolder(at: Persistent, path: string): ObjectError {
  return new ObjectError(
    'WRONG_TYPE',
    `'${path}' cannot be created: ${at.physicalPath} is a ${at.constructor.name}, not a folder`,
  )
}

registerClass('Folder', Folder)
