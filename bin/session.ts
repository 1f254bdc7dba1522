/** How commands reach the tree: one database, one transaction with user and note, closed whatever happens. */
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import { type Application, openDatabase, type Transaction } from '../objects/index.ts'

export interface Session {
  /** The database's directory. */
  readonly db: string
  /** What the user typed, for the transaction's note. */
  readonly note: string
}

/** The database of `--db`, or OBJTREE_DB, or `data/objects` under the working directory. */
export function databaseDirectory(option: string | undefined): string {
  return resolve(option ?? process.env.OBJTREE_DB ?? 'data/objects')
}

/** Runs `work` in a transaction of an existing database and closes it when the mail has been published. */
export async function inTree<T>(
  session: Session,
  work: (app: Application, tx: Transaction) => T | Promise<T>,
): Promise<T> {
  const database = await openDatabase(session.db, { create: false })
  try {
    return await database.transact(work, { user: userInfo().username, note: session.note })
  } finally {
    await database.close()
  }
}
