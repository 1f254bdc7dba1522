/** `rm`: takes an object, and what is in it, out of the tree. History keeps it until the database is packed. */
import { Folder, ObjectError, type Persistent } from '../../objects/index.ts'
import { changing, undoHint } from '../changing.ts'
import type { DryRun, TreeCommand } from '../command.ts'
import { cell, count } from '../output.ts'
import { homeOf, nameOf, objectAt } from '../places.ts'
import { typeOf } from '../types.ts'

interface Args extends DryRun {
  readonly path: string
  readonly recursive: boolean
}

interface Result {
  readonly path: string
  readonly type: string
  /** How many objects went with it. */
  readonly inside: number
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  destructive: true,
  positionals: [{ name: 'path', describe: 'the object: a path, or oid:NUMBER', required: true, kind: 'path' }],
  options: {
    recursive: { type: 'boolean', alias: 'r', default: false, describe: 'also a folder with what is in it' },
  },
  examples: [
    ['rm /shop/logo.png', 'remove a file'],
    ['rm -r /shop --dry-run', 'tell what would go'],
    ['rm -r /shop --yes', 'remove the folder with all in it, without asking'],
  ],
  async run(context, { path, recursive, dryRun }) {
    const { value, tid } = await changing(
      context,
      app => {
        const object = objectAt(app, path)
        const { folder, name } = homeOf(object, 'removed')
        const result = { path: nameOf(object), type: typeOf(object), inside: countInside(object) }
        if (result.inside > 0 && !recursive)
          throw new ObjectError(
            'INVALID_ARGUMENT',
            `${result.path} is not empty; use --recursive to remove it with what is in it`,
          )
        folder.delete(name)
        return result
      },
      dryRun,
    )
    return { ...value, tid }
  },
  print({ path, type, inside, tid }, out, { dryRun }) {
    const what = `${cell(type)} ${cell(path)}${inside > 0 ? ` and ${count(inside, 'object')} in it` : ''}`
    out.line(dryRun ? `would remove ${what}` : `removed ${what}`)
    if (tid !== null) out.line(undoHint(tid))
  },
}

/** How many objects are in a folder and in the folders in it. */
export function countInside(object: Persistent): number {
  if (!(object instanceof Folder)) return 0
  return object.values(Folder).reduce((sum, folder) => sum + countInside(folder), object.size)
}
