/**
 * Opening a LevelDB directory, with messages that help.
 *
 * One process at a time can have a directory open; LevelDB's lock sees to that. Within one process we look first ourselves: LevelDB would
 * open and close the lock file once more, and closing it gives up the process's lock (POSIX locks work so).
 */
import { existsSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { Level as LevelDirectory } from 'level'
import { messageOf, ObjectError } from '../errors.ts'
import type { Level } from './level.ts'
import { damagedTable } from './level-storage.ts'
import { lockHolder } from './lock-holder.ts'
import { Witness } from './witness.ts'

const openHere = new Set<string>()

/**
 * @param directory absolute path
 * @param options.create whether to make a directory and a database where there is none
 * @param options.salvage whether to open it although a table file is damaged
 * @throws {ObjectError} NOT_FOUND, DATABASE_LOCKED, DATABASE_CORRUPT, DATABASE_FAILED
 */
export async function openDirectory(
  directory: string,
  { create, salvage = false }: { create: boolean; salvage?: boolean },
): Promise<{ level: Level; witness: Witness }> {
  if (!create && !existsSync(directory))
    throw new ObjectError(
      'NOT_FOUND',
      `there is no database at ${directory}; create it with 'objtree --db ${directory} init'`,
    )
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new ObjectError('DATABASE_FAILED', `the directory ${directory} cannot be made: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const real = await realpath(directory)
  if (openHere.has(real))
    throw new ObjectError(
      'DATABASE_LOCKED',
      `the database ${directory} is in use: this process has it open already; share the Database object, or close it first`,
    )
  const witness = new Witness(directory)
  // LevelDB would read on without a word, or end the process
  if (witness.damaged.length > 0 && !salvage) {
    witness.close()
    throw damagedTable(directory, witness.damaged)
  }
  openHere.add(real)
  const level: Level = new LevelDirectory<Buffer, Buffer>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    createIfMissing: create,
  })
  level.once('closed', () => openHere.delete(real))
  try {
    await level.open()
  } catch (error) {
    openHere.delete(real)
    witness.close()
    throw openFailure(directory, error)
  }
  return { level, witness }
}

function openFailure(directory: string, error: unknown): ObjectError {
  const cause = (error as Error).cause as (Error & { code?: string }) | undefined
  const why = messageOf(cause ?? error)
  if (cause?.code === 'LEVEL_LOCKED') return locked(directory, error)
  return cause?.code === 'LEVEL_CORRUPTION'
    ? new ObjectError('DATABASE_CORRUPT', `the database ${directory} is damaged: ${why}; restore it from a backup`, {
        cause: error,
      })
    : new ObjectError('DATABASE_FAILED', `the database ${directory} cannot be opened: ${why}`, { cause: error })
}

function locked(directory: string, cause: unknown): ObjectError {
  const holder = lockHolder(directory)
  const who = holder === undefined ? 'another process' : `process ${holder.pid} (${holder.command})`
  return new ObjectError(
    'DATABASE_LOCKED',
    `the database ${directory} is in use: ${who} has it open, and one process at a time can; wait until that one has ended, or stop it if you may`,
    { cause },
  )
}
