/** A reference as it stands in a record. States that are merged hold some, and nodes of a BTree until somebody asks for what they lead to. */
import type { Oid } from './ids.ts'

export class Reference {
  readonly oid: Oid
  readonly className: string
  constructor(oid: Oid, className: string) {
    this.oid = oid
    this.className = className
  }
}
