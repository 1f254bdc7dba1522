/** The LevelDB interface that the storage is written for, and how it is used: binary keys and values. */
import type { AbstractIteratorOptions, AbstractLevel } from 'abstract-level'
import { messageOf, ObjectError } from '../errors.ts'

/** Any abstract-level database with synchronous reads and snapshots. */
export type Level = AbstractLevel<string | Buffer | Uint8Array, Buffer, Buffer>

export const BINARY = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const
export const SYNCED: typeof BINARY = Object.assign({ sync: true }, BINARY)

/** A value to put, or undefined to delete. */
export type Operation = readonly [key: Buffer, value: Buffer | undefined]

const SPARE_KEY = Buffer.alloc(9)

/** Operations that are put together, and then written as one indivisible step. */
export class Batch {
  /** Bytes of keys and values. */
  bytes = 0
  /** For the key of an object, to be put at once. Undefined where somebody keeps the keys that are given; LevelDB copies them. */
  readonly spareKey: Buffer | undefined
  private readonly batch: ReturnType<Level['batch']>
  private readonly options: object
  private failure: { readonly error: unknown } | undefined

  /** @param options of `optionsFor(level)`: those of each operation */
  constructor(level: Level, options: object) {
    this.batch = level.batch()
    this.options = options
    this.spareKey = 'compactRange' in level && level.listenerCount('write') === 0 ? SPARE_KEY : undefined
  }

  put(key: Buffer, value: Buffer): void {
    try {
      this.batch.put(key, value, this.options)
      this.bytes += key.length + value.length
    } catch (error) {
      this.failure ??= { error }
    }
  }

  delete(key: Buffer): void {
    try {
      this.batch.del(key, this.options)
      this.bytes += key.length
    } catch (error) {
      this.failure ??= { error }
    }
  }

  add([key, value]: Operation): void {
    if (value === undefined) this.delete(key)
    else this.put(key, value)
  }

  /** Ends it; nothing of it is written. */
  close(): Promise<void> {
    return this.batch.close()
  }

  /** Writes all of it, if nothing of it was refused. @throws what went wrong */
  write({ sync }: { sync: boolean }): Promise<void> {
    return this.failure === undefined ? this.batch.write(sync ? SYNCED : {}) : this.refuse(this.failure.error)
  }

  private async refuse(error: unknown): Promise<never> {
    await this.close()
    throw error
  }
}

/** What each operation has to be given: an operation with options of its own takes twice as long. */
export function optionsFor(level: Level): object {
  const binary = level.keyEncoding().commonName === 'buffer' && level.valueEncoding().commonName === 'buffer'
  return binary ? {} : BINARY
}

/** Writes operations as one indivisible step. */
export async function writeBatch(
  level: Level,
  operations: Iterable<Operation>,
  options: { sync: boolean },
): Promise<void> {
  const batch = new Batch(level, optionsFor(level))
  for (const operation of operations) batch.add(operation)
  await batch.write(options)
}

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

/** Whether something failed because the database was closed meanwhile. */
export function isClosed(error: unknown): boolean {
  const { code } = error as { code?: string }
  return code === 'LEVEL_DATABASE_NOT_OPEN' || code === 'LEVEL_ITERATOR_NOT_OPEN'
}

/** What a failed read means. */
export function unreadable(error: unknown, what = 'a part of it'): ObjectError {
  if (error instanceof ObjectError) return error
  const { cause } = error as { cause?: unknown }
  return isClosed(error)
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
