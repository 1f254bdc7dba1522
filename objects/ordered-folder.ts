/** OrderedFolder: a folder whose children come in an order of one's own (Zope's Ordered Folder). */
import {
  ObjectError,
  type Persistent,
  type PersistentClass,
  type Range,
  registerClass,
  SOUND,
  type StateRecord,
  unexpected,
} from '../lib/index.ts'
import { Folder } from './folder.ts'

/** A Folder whose children come in an order that is given with `order`. */
export class OrderedFolder extends Folder {
  private sequence: readonly string[] = []

  /**
   * Puts these children first, in that order; the others follow in the order of their names, and so do those that are added later. Adding
   * therefore changes nothing that another addition changes. The name of a child that is removed keeps its place, should it come back.
   * @throws {ObjectError} NOT_FOUND, INVALID_ARGUMENT for a name given twice
   */
  order(ids: readonly string[]): void {
    if (!Array.isArray(ids)) throw unexpected('order', 'a list of names', ids)
    const seen = new Set<string>()
    for (const id of ids) {
      if (!this.has(id)) throw new ObjectError('NOT_FOUND', `${this.physicalPath} has no object '${id}' to be ordered`)
      if (seen.has(id))
        throw new ObjectError('INVALID_ARGUMENT', `'${id}' stands twice in the order given to ${this.physicalPath}`)
      seen.add(id)
    }
    this.sequence = [...ids]
  }

  override [SOUND](state: StateRecord): boolean {
    return super[SOUND](state) && Array.isArray(state.sequence)
  }

  /** In the order of the folder; a range is one of names, and comes in their order. */
  override entries<T extends Persistent = Persistent>(type?: PersistentClass<T>, range?: Range): [string, T][] {
    const byName = super.entries(type, range)
    if (range !== undefined || this.sequence.length === 0) return byName
    const rank = new Map(this.sequence.map((id, i) => [id, i]))
    const last = this.sequence.length
    return byName.toSorted(([a], [b]) => (rank.get(a) ?? last) - (rank.get(b) ?? last))
  }

  /** A child that gets another name in this folder keeps its place. */
  override move(id: string, folder: Folder, newId: string = id): void {
    super.move(id, folder, newId)
    if (folder === this && this.sequence.includes(id))
      this.sequence = this.sequence.filter(each => each !== newId).map(each => (each === id ? newId : each))
  }
}

registerClass('OrderedFolder', OrderedFolder)
