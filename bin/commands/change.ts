/** `init`, `add`, `set` and `rm`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { say } from '../../maildrop/commands/output.ts'
import { Folder, ObjectError, openDatabase } from '../../objects/index.ts'
import { assign } from '../assignments.ts'
import { inTree, type Session } from '../session.ts'
import { newObject, typeOf } from '../types.ts'

export async function init({ db }: Session): Promise<void> {
  const existed = existsSync(join(db, 'CURRENT'))
  const database = await openDatabase(db)
  await database.close()
  say(existed ? `there is an object database in ${db} already` : `created an object database in ${db}`)
}

export async function add(
  session: Session,
  type: string,
  path: string,
  assignments: readonly string[],
  parents: boolean,
): Promise<void> {
  const created = await inTree(session, async app => {
    const object = app.create(path, newObject(type), { parents })
    await assign(object, assignments)
    return object.physicalPath
  })
  say(`added ${type} ${created}`)
}

export async function set(session: Session, path: string, assignments: readonly string[]): Promise<void> {
  const changed = await inTree(session, async app => {
    const object = app.traverse(path)
    await assign(object, assignments)
    return object.physicalPath
  })
  say(`changed ${changed}`)
}

export async function rm(session: Session, path: string, recursive: boolean): Promise<void> {
  const removed = await inTree(session, app => {
    const object = app.traverse(path)
    const { physicalPath, __parent__: parent, __name__: name } = object
    if (!(parent instanceof Folder) || name === undefined)
      throw new ObjectError('INVALID_ARGUMENT', `${physicalPath} cannot be removed: it is the root of the tree`)
    if (object instanceof Folder && object.size > 0 && !recursive)
      throw new ObjectError(
        'INVALID_ARGUMENT',
        `${physicalPath} is not empty; use --recursive to remove it with what is in it`,
      )
    parent.delete(name)
    return `${typeOf(object)} ${physicalPath}`
  })
  say(`removed ${removed}`)
}
