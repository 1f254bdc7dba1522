/** `cp`: a deep copy of an object. */
import { ObjectError } from '../../objects/index.ts'
import { changing, undoHint } from '../changing.ts'
import type { TreeCommand } from '../command.ts'
import { cell } from '../output.ts'
import { destination, homeOf, nameOf, objectAt } from '../places.ts'
import { typeOf } from '../types.ts'

interface Args {
  readonly from: string
  readonly to: string
}

interface Result {
  readonly from: string
  readonly to: string
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  positionals: [
    { name: 'from', describe: 'the object', required: true, kind: 'path' },
    { name: 'to', describe: 'the path of the copy, or the folder that it goes into', required: true, kind: 'path' },
  ],
  examples: [
    ['cp /shop/welcome /shop/goodbye', 'a copy beside it'],
    ['cp /shop /shop-test', 'a folder with all in it'],
  ],
  async run(context, { from, to }) {
    const { value, tid } = await changing(context, app => {
      const object = objectAt(app, from)
      const home = homeOf(object, 'copied')
      const { folder, name } = destination(app, to, home.name)
      const there = folder.get(name)
      if (there !== undefined && there !== object)
        throw new ObjectError(
          'DUPLICATE_ID',
          `there is a ${typeOf(there)} at ${nameOf(there)} already; choose another name, or remove it first`,
        )
      return { from: nameOf(object), to: nameOf(home.folder.copy(home.name, folder, name)) }
    })
    return { ...value, tid }
  },
  print({ from, to, tid }, out) {
    out.line(`copied ${cell(from)} to ${cell(to)}`)
    if (tid !== null) out.line(undoHint(tid))
  },
}
