/**
 * The savepoints of a connection's transaction. Each knows what the overlay had for the objects that were stored since, and which inner values
 * of objects may be in use outside: those a rollback gives their content back (lib/inner-values.ts).
 */

import type { Cell } from './cell.ts'
import { ObjectError } from './errors.ts'
import { innerValues } from './inner-values.ts'

/** @template Entry what the overlay has for an object */
export interface Undo<Entry> {
  readonly overlay: Map<Cell, Entry | undefined>
  readonly inner: Map<Cell, readonly object[]>
}

export class Savepoints<Entry> {
  private readonly undos: Undo<Entry>[] = []

  begin(): Undo<Entry> {
    const own: Undo<Entry> = { overlay: new Map(), inner: new Map() }
    this.undos.push(own)
    return own
  }

  /** Notes what the overlay had for an object, before it gets another entry. */
  replacing(cell: Cell, before: Entry | undefined): void {
    const overlay = this.undos.at(-1)?.overlay
    if (overlay !== undefined && !overlay.has(cell)) overlay.set(cell, before)
  }

  /** Notes the inner values of an object for the last savepoint, as they were there: before the first change since. */
  remember(cell: Cell): void {
    const inner = this.undos.at(-1)?.inner
    if (inner !== undefined && cell.state !== undefined && !inner.has(cell)) inner.set(cell, innerValues(cell.state))
  }

  /** An object gets a state with other inner values. */
  forgetInner(cell: Cell): void {
    for (const { inner } of this.undos) inner.delete(cell)
  }

  /** Makes sure that a savepoint can be rolled back to. @throws {ObjectError} SAVEPOINT_INVALID */
  assertKnown(to: Undo<Entry>): void {
    if (!this.undos.includes(to))
      throw new ObjectError(
        'SAVEPOINT_INVALID',
        'the savepoint is gone: an earlier one was rolled back to, or its transaction has ended',
      )
  }

  /**
   * Ends the savepoints after `to`.
   * @param put takes what the overlay had at `to` for an object that was stored since
   * @returns the inner values that objects had at `to`
   */
  undoTo(to: Undo<Entry>, put: (cell: Cell, before: Entry | undefined) => void): Map<Cell, readonly object[]> {
    const all = new Map<Cell, readonly object[]>()
    for (const { overlay, inner } of [to, ...this.undos.splice(this.undos.indexOf(to) + 1)].toReversed()) {
      for (const [cell, before] of overlay) put(cell, before)
      for (const [cell, values] of inner) all.set(cell, values)
      overlay.clear()
    }
    return all
  }

  clear(): void {
    if (this.undos.length > 0) this.undos.length = 0
  }
}
