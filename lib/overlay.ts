/**
 * What a connection's transaction has stored so far, at savepoints and at the commit: a draft for each object. The object's cell holds its own;
 * they come in the order in which the objects were first stored.
 */

import type { Cell } from './cell.ts'
import type { Draft } from './object-writer.ts'

export class Overlay {
  private cells: Cell[] = []
  /** Whether there are some among the cells that have no draft any more. */
  private gaps = false

  get size(): number {
    this.close()
    return this.cells.length
  }

  /** All drafts. */
  get drafts(): Draft[] {
    this.close()
    return this.cells.map(cell => cell.draft as Draft)
  }

  set(draft: Draft): void {
    const { cell } = draft
    if (cell.draft === undefined) {
      // it may be among them still
      this.close()
      this.cells.push(cell)
    }
    cell.draft = draft
  }

  delete(cell: Cell): void {
    if (cell.draft === undefined) return
    cell.draft = undefined
    this.gaps = true
  }

  /** Forgets all drafts. @returns the objects that had one */
  clear(): Cell[] {
    this.close()
    const { cells } = this
    for (const cell of cells) cell.draft = undefined
    this.cells = []
    return cells
  }

  private close(): void {
    if (!this.gaps) return
    this.cells = this.cells.filter(({ draft }) => draft !== undefined)
    this.gaps = false
  }
}
