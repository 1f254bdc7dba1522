/** How commands change the tree: each in one transaction, with the user and the command line, which `log` shows. */
import type { Application, Tid, Transaction } from '../objects/index.ts'
import type { Context } from './command.ts'

export interface Changed<T> {
  readonly value: T
  /** The transaction; null if there was nothing to change, or it was only tried. */
  readonly tid: Tid | null
}

/**
 * Runs `work` in a transaction and commits it, again if it conflicts; not if the user wants no more.
 * @param dryRun takes everything back instead
 */
export async function changing<T>(
  { db, user, note, signal }: Context,
  work: (app: Application, tx: Transaction) => T | Promise<T>,
  dryRun = false,
): Promise<Changed<T>> {
  let last: Transaction | undefined
  const value = await db.transact(
    async (app, tx) => {
      last = tx
      tx.beforeCommit(() => signal.throwIfAborted())
      const result = await work(app, tx)
      if (dryRun) await tx.abort()
      return result
    },
    { user, note },
  )
  return { value, tid: last?.tid ?? null }
}

/** The sentence that tells how to take a change back. */
export const undoHint = (tid: Tid | null): string => (tid === null ? '' : `take it back with: objtree undo ${tid}`)
