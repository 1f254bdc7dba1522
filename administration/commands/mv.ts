/** `mv`: another name or place for an object; what refers to it still does. */
import { Folder, ObjectError } from '../../objects/index.ts'
import { changing, undoHint } from '../changing.ts'
import type { DryRun, TreeCommand } from '../command.ts'
import { cell } from '../output.ts'
import { destination, homeOf, nameOf, objectAt } from '../places.ts'
import { typeOf } from '../types.ts'

interface Args extends DryRun {
  readonly from: string
  readonly to: string
  readonly force: boolean
}

interface Result {
  readonly from: string
  readonly to: string
  /** The type of the object that was there before, and is gone now. */
  readonly replaced: string | null
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  destructive: true,
  positionals: [
    { name: 'from', describe: 'the object', required: true, kind: 'path' },
    { name: 'to', describe: 'its new path, or the folder that it goes into', required: true, kind: 'path' },
  ],
  options: {
    force: { type: 'boolean', alias: 'f', default: false, describe: 'remove what has that path already' },
  },
  examples: [
    ['mv /shop/welcome /shop/greeting', 'rename a page'],
    ['mv /shop/welcome /', 'put it into another folder'],
    ['mv /shop/welcome /shop/logo.png --force --dry-run', 'over something else: tell what would go'],
  ],
  async run(context, { from, to, force, dryRun }) {
    const { value, tid } = await changing(
      context,
      app => {
        const object = objectAt(app, from)
        const home = homeOf(object, 'moved')
        const { folder, name } = destination(app, to, home.name)
        const before = nameOf(object)
        if (folder === object || isIn(folder, object))
          throw new ObjectError('INVALID_ARGUMENT', `${before} cannot be moved into itself`)
        const there = folder.get(name)
        if (there === object) return { from: before, to: before, replaced: null }
        if (there !== undefined) {
          if (!force)
            throw new ObjectError(
              'DUPLICATE_ID',
              `there is a ${typeOf(there)} at ${nameOf(there)} already; choose another name, or use --force to remove it`,
            )
          if (isIn(object, there))
            throw new ObjectError('INVALID_ARGUMENT', `${before} cannot take the place of the folder that it is in`)
          folder.delete(name)
        }
        home.folder.move(home.name, folder, name)
        return { from: before, to: nameOf(object), replaced: there === undefined ? null : typeOf(there) }
      },
      dryRun,
    )
    return { ...value, tid }
  },
  asks: ({ replaced }) => replaced !== null,
  print({ from, to, replaced, tid }, out, { dryRun }) {
    const over = replaced === null ? '' : ` over the ${cell(replaced)} that ${dryRun ? 'is' : 'was'} there`
    out.line(`${dryRun ? 'would move' : 'moved'} ${cell(from)} to ${cell(to)}${over}`)
    if (tid !== null) out.line(undoHint(tid))
  },
}

function isIn(object: { __parent__?: unknown }, container: unknown): boolean {
  for (let at = object.__parent__; at instanceof Folder; at = at.__parent__) if (at === container) return true
  return false
}
