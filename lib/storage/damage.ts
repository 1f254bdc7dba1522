/** What is said of a database that is damaged, or cannot be written. */
import { messageOf, ObjectError } from '../errors.ts'
import type { Tid } from '../ids.ts'
import type { DamagedLog } from './log-file.ts'

/** What can be done about a damaged database. */
export const RECOVERY =
  'Restore it from a backup; or, on a copy of the directory, read what is left with the option salvage'

/** What is read from a damaged table may be wrong or outdated. */
export function damagedTable(location: string, files: readonly string[]): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the database ${location} is damaged: ${files.join(', ')} ${files.length === 1 ? 'is' : 'are'} not as written. ${RECOVERY}`,
  )
}

export function lostCommits(location: string, expected: Tid, found: Tid): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `committed transactions are missing in ${location}: the last one was ${expected}, the last one that can be read is ${found}. Its log is damaged: restore it from a backup; or, to go on with what is left, write the word accept into the file COMMITTED in it`,
  )
}

/** LevelDB would drop what is damaged without a word. */
export function damagedLogOf(location: string, { name, problem }: DamagedLog): ObjectError {
  return new ObjectError(
    'DATABASE_CORRUPT',
    `the database ${location} is damaged: ${name}: ${problem}, and COMMITTED, which tells what must be there, is missing or damaged. Restore it from a backup; or, to go on with what LevelDB reads of it, write the word accept into the file COMMITTED in it`,
  )
}

/** What LevelDB says of a failure, or whoever else it was. */
export const whyOf = (cause: unknown): string =>
  cause instanceof Error ? ((cause.cause as Error | undefined)?.message ?? cause.message) : String(cause)

const remedy = (goesOn: boolean): string =>
  goesOn
    ? 'Mend the cause (free space, permissions); the database goes on by itself then'
    : 'Mend the cause (free space, permissions), then open the database again'

/**
 * Marked `inDoubt`: what was to be written may be on disk nevertheless, which the next opening tells.
 * @param goesOn whether the database is opened again by itself (lib/storage/reopening.ts)
 */
export function failedWrite(location: string, cause: unknown, goesOn = false): ObjectError {
  const error = new ObjectError(
    'DATABASE_FAILED',
    `the database ${location} could not be written: ${whyOf(cause)}; the transaction failed. ${remedy(goesOn)}`,
    { cause },
  )
  return Object.assign(error, { inDoubt: true })
}

/** What comes after a failed write; see lib/storage/writer.ts. */
export function failedBefore(location: string, cause: unknown, goesOn: boolean): ObjectError {
  return new ObjectError(
    'DATABASE_FAILED',
    `nothing can be written to the database ${location}, since a write failed: ${whyOf(cause)}. ${remedy(goesOn)}`,
    { cause },
  )
}

/** What was being read when LevelDB was opened again, or is to be read meanwhile. */
export function openedAgain(location: string): ObjectError {
  return new ObjectError(
    'READ_CONFLICT',
    `the database ${location} is opened again, since a write failed, and what was being read ended with that; do it again`,
  )
}

/** What comes as long as the database, closed after a failed write, cannot be opened again. @param final whether that is not tried any more */
export function cannotReopen(location: string, cause: unknown, final: boolean): ObjectError {
  return new ObjectError(
    cause instanceof ObjectError && final ? cause.code : 'DATABASE_FAILED',
    `the database ${location} had to be opened again, since a write failed, and cannot be: ${messageOf(cause)}${final ? '' : '. That is tried every second'}`,
    { cause },
  )
}
