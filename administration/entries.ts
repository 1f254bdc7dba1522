/** Transactions as commands show them. */
import { type Application, type Database, type LogEntry, ObjectError, type Tid } from '../objects/index.ts'
import { cell, count, type Output, when } from './output.ts'

/** A transaction, as JSON. */
export interface Entry {
  readonly tid: Tid
  /** ISO 8601 */
  readonly time: string
  readonly user: string
  readonly note: string
  /** The objects that it wrote, and their classes, each once. */
  readonly oids: readonly number[]
  readonly classes: readonly string[]
}

export const entryOf = ({ tid, time, user, note, oids, classes }: LogEntry): Entry => ({
  tid,
  time: time.toISOString(),
  user,
  note,
  oids,
  classes,
})

/** @throws {ObjectError} NOT_FOUND, HISTORY_PACKED */
export async function transactionOf(db: Database<Application>, tid: Tid): Promise<Entry> {
  const [newest] = await db.undoLog({ last: 1 })
  if (newest !== undefined && tid > 0 && tid <= newest.tid)
    for await (const entry of db.changes({ since: tid - 1 })) {
      if (entry.tid === tid) return entryOf(entry)
      break
    }
  throw new ObjectError('NOT_FOUND', `there is no transaction ${tid}; 'objtree log' lists them`)
}

export function showEntries(entries: readonly Entry[], out: Output): void {
  out.table(
    ['transaction', 'time', 'user', 'objects', 'note'],
    entries.map(({ tid, time, user, note, oids }) => [
      String(tid),
      when(time),
      cell(user),
      out.terminal ? count(oids.length, 'object') : String(oids.length),
      cell(note),
    ]),
  )
}
