/** `undo`: takes transactions back, whole or not at all, in a new one; which can be undone as well. */
import { undoHint } from '../changing.ts'
import type { DryRun, TreeCommand, Typed } from '../command.ts'
import { type Entry, showEntries, transactionOf } from '../entries.ts'
import { count } from '../output.ts'
import { tidOf } from '../places.ts'

interface Args extends DryRun {
  readonly tids: readonly number[]
}

interface Result {
  /** What is undone. */
  readonly undone: readonly Entry[]
  /** The transaction that undid it; null after a dry run. */
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  destructive: true,
  positionals: [
    {
      name: 'transactions',
      describe: "what is to be undone, as 'objtree log' shows it",
      required: true,
      many: true,
      kind: 'transaction',
    },
  ],
  examples: [
    ['undo 1795740109259000 --dry-run', 'tell what would be undone'],
    ['undo 1795740109259000 --yes', 'undo it'],
  ],
  prepare: ({ transactions }: Typed) => ({ tids: (transactions as string[]).map(tidOf) }),
  async run({ db, user, note, signal }, { tids, dryRun }) {
    const undone = await Promise.all([...new Set(tids)].map(tid => transactionOf(db, tid)))
    if (dryRun) await db.assertUndoable(tids)
    return { undone, tid: dryRun ? null : await db.undo(tids, { user, note, signal }) }
  },
  print({ undone, tid }, out) {
    if (tid === null) {
      out.line(`would undo ${count(undone.length, 'transaction')}:`)
      showEntries(undone, out)
      return
    }
    out.line(`undone: ${undone.map(each => each.tid).join(', ')}. Mail that was sent is not called back`)
    out.line(undoHint(tid))
  },
}
