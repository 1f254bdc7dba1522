/** Where objects are in the tree, told by their records alone: for messages, where no connection has them. */
import { type Oid, ROOT_OID } from './ids.ts'
import { asItStands, Reference, unpickle } from './pickle.ts'
import { isGone, type RecordBody } from './record.ts'

/** Gives the record of an object, of one moment. */
export type Load = (oid: Oid) => RecordBody | undefined

/** The object that a record says it is in. */
export function containerOf(record: RecordBody | undefined): Oid | undefined {
  if (record === undefined || isGone(record)) return undefined
  const { __parent__: container } = unpickle(record.state, asItStands)
  return container instanceof Reference ? container.oid : undefined
}

/** An object with its class, and its path where it has one. */
export function describeRecord(oid: Oid, load: Load): string {
  const record = load(oid)
  if (record === undefined || isGone(record)) return `object ${oid}`
  const path = pathOf(oid, load)
  return `${record.className} (object ${oid})${path === undefined ? '' : ` at ${path}`}`
}

function pathOf(oid: Oid, load: Load): string | undefined {
  const names: string[] = []
  const way = new Set<Oid>()
  for (let at = oid; at !== ROOT_OID; ) {
    const record = way.has(at) ? undefined : load(at)
    if (record === undefined || isGone(record)) return undefined
    const { __parent__: container, __name__: name } = unpickle(record.state, asItStands)
    if (!(container instanceof Reference) || typeof name !== 'string') return undefined
    way.add(at)
    names.unshift(name)
    at = container.oid
  }
  return `/${names.join('/')}`
}
