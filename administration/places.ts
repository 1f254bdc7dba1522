/**
 * Naming objects: a path in the tree (`/shop/welcome`), or `oid:123`, which reaches also what is in no folder and what was removed.
 */
import {
  type Application,
  type Connection,
  type Database,
  Folder,
  type Moment,
  ObjectError,
  type Persistent,
  type Tid,
} from '../objects/index.ts'
import { WrongUsage } from './wrong-usage.ts'

/** The object that an argument names. @throws {ObjectError} NOT_FOUND, OBJECT_NOT_FOUND */
export function objectAt(app: Application, name: string): Persistent {
  const oid = oidOf(name)
  return oid === undefined ? app.traverse(name) : (app._p_jar as Connection).get(oid)
}

/** The number of `oid:123`; undefined for a path. */
export function oidOf(name: string): number | undefined {
  const digits = /^oid:(\d{1,15})$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** How an object is named: by its path if it is in the tree, otherwise by its oid. */
export function nameOf(object: Persistent): string {
  return isInTree(object) ? object.physicalPath : `oid:${object._p_oid}`
}

/** Whether its containers lead to the root. */
export function isInTree(object: Persistent): boolean {
  let at = object
  while (at.__parent__ !== undefined) at = at.__parent__ as Persistent
  return at._p_oid === 1
}

/** Runs `work` on a view of the database that cannot be changed. @param at what it shows; by default the newest state */
export async function reading<T>(
  db: Database<Application>,
  at: Moment | undefined,
  work: (app: Application) => T | Promise<T>,
): Promise<T> {
  const connection = db.open(at === undefined ? { readOnly: true } : { at })
  try {
    return await work(rootAt(connection, at))
  } finally {
    connection.release()
  }
}

/** In milliseconds. */
const UNITS = { d: 86_400_000, h: 3_600_000, m: 60_000 } as const

/**
 * The moment that a text names: a transaction's id as `log` prints it, a date as `2026-03-31` (its midnight, UTC) or
 * `2026-03-31T12:00:00Z`, or how long ago it was, as `30d` or `12h`.
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export function momentOf(text: string, option: string): Moment {
  if (/^\d{1,16}$/.test(text)) return Number(text)
  const date = new Date(text)
  if (/^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d))?$/.test(text) && !Number.isNaN(date.getTime())) return date
  const age = /^(\d{1,5})([dhm])$/.exec(text)
  if (age !== null) return new Date(Date.now() - Number(age[1]) * UNITS[age[2] as keyof typeof UNITS])
  throw new WrongUsage(
    `${option}: expected a transaction's id (objtree log), a date like 2026-03-31 or 2026-03-31T12:00:00Z, or an age like 30d or 12h, found ${JSON.stringify(text)}`,
  )
}

/** @throws {ObjectError} INVALID_ARGUMENT */
export function tidOf(text: string): Tid {
  if (/^\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text))) return Number(text)
  throw new WrongUsage(`expected the id of a transaction, as 'objtree log' prints it, found ${JSON.stringify(text)}`)
}

export const timeOf = (tid: Tid): string => new Date(Math.floor(tid / 1000)).toISOString()

/** The folder that an object is in, and its name there. @throws {ObjectError} INVALID_ARGUMENT for the root, and for what is in no folder */
export function homeOf(object: Persistent, done: string): { readonly folder: Folder; readonly name: string } {
  const { __parent__: folder, __name__: name } = object
  if (folder instanceof Folder && name !== undefined) return { folder, name }
  const why = object._p_oid === 1 ? 'it is the root of the tree' : 'it is in no folder'
  throw new ObjectError('INVALID_ARGUMENT', `${nameOf(object)} cannot be ${done}: ${why}`)
}

/**
 * Where something is to go: into the folder at `path` under its own name, or to `path` itself if nothing is there.
 * @throws {ObjectError} NOT_FOUND, WRONG_TYPE if there is no folder for it
 */
export function destination(
  app: Application,
  path: string,
  ownName: string,
): { readonly folder: Folder; readonly name: string } {
  const there = found(app, path)
  if (there instanceof Folder) return { folder: there, name: ownName }
  const names = path.split('/').filter(name => name !== '')
  const name = names.pop() as string
  return { folder: app.traverse(`/${names.join('/')}`, Folder), name }
}

/** @throws {ObjectError} NOT_FOUND for a moment before the database was made */
function rootAt(connection: Connection<Application>, at: Moment | undefined): Application {
  try {
    return connection.root
  } catch (error) {
    if (at === undefined || !(error instanceof ObjectError) || error.code !== 'OBJECT_NOT_FOUND') throw error
    const moment = at instanceof Date ? at.toISOString() : `transaction ${at}`
    throw new ObjectError('NOT_FOUND', `there was nothing in the database yet at ${moment}; see objtree log`)
  }
}

/** What is at a path, if anything is. */
export function found(app: Application, path: string): Persistent | undefined {
  try {
    return objectAt(app, path)
  } catch (error) {
    if (error instanceof ObjectError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}
