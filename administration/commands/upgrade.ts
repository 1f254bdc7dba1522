/** `upgrade`: stores every object of an older version of its class anew, so that old upgrade functions can go. */
import type { TreeCommand } from '../command.ts'
import { count } from '../output.ts'
import { step, totals } from '../progress-total.ts'

interface Result {
  /** How many objects were stored anew. */
  readonly upgraded: number
}

export const command: TreeCommand<object, Result> = {
  examples: [['upgrade', 'with the classes of --require, or of objtree.config.js']],
  async run(context) {
    const { db, user, note } = context
    const { objects } = await totals(context)
    const progress = (done: number) => step(context, { unit: 'objects', done, ...objects })
    return { upgraded: await db.upgrade({ user, note, progress }) }
  },
  print({ upgraded }, out) {
    out.line(`${count(upgraded, 'object')} of older versions stored anew`)
    if (upgraded > 0) out.line('views of the past need the old upgrade functions until the next pack')
  },
}
