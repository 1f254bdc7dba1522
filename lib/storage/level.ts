/** The LevelDB interface that the storage is written for, and how it is used: binary keys and values. */
import type { AbstractIteratorOptions, AbstractLevel } from 'abstract-level'
import { messageOf, ObjectError } from '../errors.ts'

/** Any abstract-level database with synchronous reads and snapshots. */
export type Level = AbstractLevel<string | Buffer | Uint8Array, Buffer, Buffer>

export const BINARY = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
export const SYNCED: typeof BINARY = Object.assign({ sync: true }, BINARY)

/** A value to put, or undefined to delete. */
export type Operation = readonly [key: Buffer, value: Buffer | undefined]

/** Writes operations as one indivisible step. */
export async function writeBatch(
  level: Level,
  operations: Iterable<Operation>,
  { sync }: { sync: boolean },
): Promise<void> {
  const batch = level.batch()
  // an operation with options of its own takes twice as long
  const options = isBinary(level) ? {} : BINARY
  try {
    for (const [key, value] of operations) {
      if (value === undefined) batch.del(key, options)
      else batch.put(key, value, options)
    }
  } catch (error) {
    await batch.close()
    throw error
  }
  await batch.write(sync ? SYNCED : {})
}

/** Whether the level's own encodings are binary, so that they need not be asked for. */
const isBinary = (level: Level): boolean =>
  level.keyEncoding().commonName === 'buffer' && level.valueEncoding().commonName === 'buffer'

/** The entries in a range. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
export async function* entriesIn(
  level: Level,
  options: AbstractIteratorOptions<Buffer, Buffer>,
): AsyncGenerator<[key: Buffer, value: Buffer]> {
  try {
    yield* level.iterator(options)
  } catch (error) {
    throw unreadable(error)
  }
}

/** What a failed read means. */
export function unreadable(error: unknown, what = 'a part of it'): ObjectError {
  if (error instanceof ObjectError) return error
  const { code, cause } = error as { code?: string; cause?: unknown }
  return code === 'LEVEL_DATABASE_NOT_OPEN' || code === 'LEVEL_ITERATOR_NOT_OPEN'
    ? new ObjectError('DATABASE_CLOSED', 'the database has been closed', { cause: error })
    : new ObjectError(
        'DATABASE_CORRUPT',
        `the database is damaged: ${what} cannot be read: ${messageOf(cause ?? error)}; restore it from a backup`,
        { cause: error },
      )
}

/** For `catch`. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
export function failedRead(error: unknown): never {
  throw unreadable(error)
}
