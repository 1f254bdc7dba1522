/** What stands in the place of an object whose class the program does not know. */
import { cellOf } from './cell.ts'
import { Persistent } from './persistent.ts'

/** An object whose class is not registered: keeps its state, refuses changes. */
export class Broken extends Persistent {
  /** The name under which its record knows the class. */
  get _p_className(): string {
    return cellOf(this)?.brokenName ?? ''
  }
}
