/**
 * `restore`: makes a database of a backup. What was in its place is moved aside, not removed.
 *
 * The new one is made beside the old one and checked, then put in its place (lib/storage/exchange.ts); the same command, or whoever opens the
 * database next, completes what was interrupted. It is the one thing that needs the application to be stopped.
 */
import { existsSync } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { exchange, finishExchange, freshPlace, lockHolder } from '../../lib/index.ts'
import { ObjectError, openDatabase, restoreDatabase } from '../../objects/index.ts'
import type { DirectoryCommand, DryRun, Typed } from '../command.ts'
import { count, when } from '../output.ts'
import { timeOf } from '../places.ts'
import { quoted } from '../quoted.ts'

interface Args extends DryRun {
  /** The backup, absolute. */
  readonly from: string
}

interface Result {
  readonly directory: string
  readonly from: string
  /** Where the database is now that was there before; null if there was none. */
  readonly aside: string | null
  /** Whether that one is damaged, so that it cannot be restored in its turn. */
  readonly damaged: boolean
  /** The last transaction, and how many records there are; null in a dry run. */
  readonly tid: number | null
  readonly records: number | null
}

export const command: DirectoryCommand<Args, Result> = {
  works: 'directory',
  destructive: true,
  positionals: [{ name: 'from', describe: 'the directory of the backup', required: true, kind: 'directory' }],
  examples: [
    ['restore backup', 'put it in the place of the database; the old one is kept aside'],
    ['--db data/other restore backup', 'as another database'],
  ],
  prepare: ({ from }: Typed) => ({ from: resolve(from as string) }),
  async run({ directory }, { from, dryRun }) {
    if (!existsSync(join(from, 'CURRENT'))) throw new ObjectError('NOT_FOUND', `there is no backup in ${from}`)
    if (from === directory) throw new ObjectError('INVALID_ARGUMENT', `${from} is the database itself`)
    finishExchange(directory)
    const replaces = existsSync(directory) && (await readdir(directory)).length > 0
    const aside = replaces ? `${directory}.before-restore-${new Date().toISOString().replace(/\D/g, '')}` : null
    const damaged = replaces && !(await assertFree(directory))
    if (dryRun) return { directory, from, aside, damaged, tid: null, records: null }
    const fresh = freshPlace(directory)
    await rm(fresh, { recursive: true, force: true })
    const { tid, records } = await restoreDatabase(from, aside === null ? directory : fresh)
    if (aside !== null) await exchange(directory, aside, assertFree)
    return { directory, from, aside, damaged, tid, records }
  },
  asks: ({ aside }) => aside !== null,
  print({ directory, from, aside, damaged, tid, records }, out) {
    if (tid === null || records === null) {
      out.line(`would make a database of ${from} in ${directory}`)
      if (aside !== null) out.line(`the database that is there would be kept as ${aside}`)
      return
    }
    out.line(`restored ${directory}: ${count(records, 'record')}, up to transaction ${tid} at ${when(timeOf(tid))}`)
    if (aside !== null) {
      out.line(`the ${damaged ? 'damaged ' : ''}database that was there is in ${aside}`)
      out.line(
        damaged
          ? `what can be read of it becomes a database with: objtree --db ${quoted(aside)} salvage DIRECTORY`
          : `take it back with: objtree --db ${quoted(directory)} restore ${quoted(aside)}`,
      )
    }
  },
}

/**
 * Opens the old database once more, which publishes the mail that it has committed, and changes nothing if it is damaged.
 * @returns whether it can be opened
 * @throws {ObjectError} DATABASE_LOCKED if somebody has it open
 */
async function assertFree(directory: string): Promise<boolean> {
  try {
    await (await openDatabase(directory, { create: false, socket: false })).close()
    return true
  } catch (error) {
    const { message, code } = error as ObjectError
    // one that is damaged is what restore is for; but it may be refused before it is seen that somebody has it open
    const holder = lockHolder(directory)
    if (code !== 'DATABASE_LOCKED' && (holder === undefined || holder.pid === process.pid)) return false
    const who =
      code === 'DATABASE_LOCKED'
        ? message.slice(0, message.lastIndexOf(';'))
        : `process ${holder?.pid} has ${directory} open`
    throw new ObjectError(
      'DATABASE_LOCKED',
      `${who}; stop that process first: a database cannot be exchanged while it is in use`,
      { cause: error },
    )
  }
}
