/**
 * `restore`: makes a database of a backup. What was in its place is moved aside, not removed.
 *
 * The new one is made beside the old one and checked, then two renames put it in its place: a kill between them leaves both, under the names
 * that are said here. It is the one thing that needs the application to be stopped.
 */
import { existsSync } from 'node:fs'
import { readdir, rename, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { lockHolder } from '../../lib/index.ts'
import { ObjectError, openDatabase, restoreDatabase } from '../../objects/index.ts'
import type { DirectoryCommand, DryRun, Typed } from '../command.ts'
import { count, when } from '../output.ts'
import { timeOf } from '../places.ts'

interface Args extends DryRun {
  /** The backup, absolute. */
  readonly from: string
}

interface Result {
  readonly directory: string
  readonly from: string
  /** Where the database is now that was there before; null if there was none. */
  readonly aside: string | null
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
    const replaces = existsSync(directory) && (await readdir(directory)).length > 0
    const aside = replaces ? `${directory}.before-restore-${new Date().toISOString().replace(/\D/g, '')}` : null
    if (replaces) await assertFree(directory)
    if (dryRun) return { directory, from, aside, tid: null, records: null }
    const fresh = `${directory}.restored`
    await rm(fresh, { recursive: true, force: true })
    const { tid, records } = await restoreDatabase(from, aside === null ? directory : fresh)
    if (aside !== null) await exchange(directory, aside, fresh)
    return { directory, from, aside, tid, records }
  },
  asks: ({ aside }) => aside !== null,
  print({ directory, from, aside, tid, records }, out) {
    if (tid === null || records === null) {
      out.line(`would make a database of ${from} in ${directory}`)
      if (aside !== null) out.line(`the database that is there would be kept as ${aside}`)
      return
    }
    out.line(`restored ${directory}: ${count(records, 'record')}, up to transaction ${tid} at ${when(timeOf(tid))}`)
    if (aside !== null) {
      out.line(`the database that was there is in ${aside}`)
      out.line(`take it back with: objtree --db ${directory} restore ${aside}`)
    }
  },
}

/**
 * Opens the old database once more, which publishes the mail that it has committed, and changes nothing if it is damaged.
 * @throws {ObjectError} DATABASE_LOCKED if somebody has it open
 */
async function assertFree(directory: string): Promise<void> {
  try {
    await (await openDatabase(directory, { create: false, socket: false })).close()
  } catch (error) {
    const { message, code } = error as ObjectError
    // one that is damaged is what restore is for; but it may be refused before it is seen that somebody has it open
    const holder = lockHolder(directory)
    if (code !== 'DATABASE_LOCKED' && (holder === undefined || holder.pid === process.pid)) return
    const who = code === 'DATABASE_LOCKED' ? message.split(';')[0] : `process ${holder?.pid} has ${directory} open`
    throw new ObjectError(
      'DATABASE_LOCKED',
      `${who}; stop that process first: a database cannot be exchanged while it is in use`,
      { cause: error },
    )
  }
}

async function exchange(directory: string, aside: string, fresh: string): Promise<void> {
  await rename(directory, aside)
  try {
    // somebody may have opened it since it was looked at
    await assertFree(aside)
    await rename(fresh, directory)
  } catch (error) {
    await rename(aside, directory)
    throw error
  }
}
