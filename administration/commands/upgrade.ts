/** `upgrade`: stores every object of an older version of its class anew, so that old upgrade functions can go. */
import type { TreeCommand } from '../command.ts'
import { count } from '../output.ts'

interface Result {
  /** How many objects were stored anew. */
  readonly upgraded: number
}

export const command: TreeCommand<object, Result> = {
  examples: [['upgrade', 'with the classes of --require, or of objtree.config.js']],
  run: async ({ db, user, note, progress }) => ({
    upgraded: await db.upgrade({ user, note, progress: done => progress({ unit: 'objects', done }) }),
  }),
  print({ upgraded }, out) {
    out.line(`${count(upgraded, 'object')} of older versions stored anew`)
    if (upgraded > 0) out.line('views of the past need the old upgrade functions until the next pack')
  },
}
