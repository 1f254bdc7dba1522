/** The LevelDB interface that the storage is written for, and how it is used: binary keys and values. */
import type { AbstractLevel } from 'abstract-level'

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
  try {
    for (const [key, value] of operations) {
      if (value === undefined) batch.del(key, BINARY)
      else batch.put(key, value, BINARY)
    }
  } catch (error) {
    await batch.close()
    throw error
  }
  await batch.write(sync ? SYNCED : {})
}
