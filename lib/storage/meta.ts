/** The rows about the database itself: its format and id, and how far it was packed. */
import { randomBytes } from 'node:crypto'
import { ObjectError } from '../errors.ts'
import type { Tid } from '../ids.ts'
import { readUInt64, writeUInt64 } from '../record.ts'
import { FORMAT_KEY, PACKED_KEY } from './keys.ts'
import { BINARY, failedRead, type Level, type Operation, SYNCED, unreadable } from './level.ts'

const FORMAT = 3

/** The name of a database that has lost its own. */
const NAMELESS = '0'.repeat(16)

/**
 * @param create whether an empty LevelDB becomes a database
 * @param damaged whether a part of it is lost; the row may have been in it
 * @returns the random name of the database
 * @throws {ObjectError} DATABASE_FORMAT, DATABASE_CORRUPT
 */
export async function databaseId(level: Level, location: string, create: boolean, damaged: boolean): Promise<string> {
  const meta = readSync(level, FORMAT_KEY)
  if (meta === undefined && damaged) return NAMELESS
  if (meta === undefined) {
    const [any] = await level
      .keys({ ...BINARY, limit: 1 })
      .all()
      .catch(failedRead)
    if (any !== undefined)
      throw new ObjectError('DATABASE_FORMAT', `${location} is a LevelDB of something else; choose another directory`)
    if (!create) throw new ObjectError('DATABASE_FORMAT', `${location} holds no object database`)
    const id = randomBytes(8).toString('hex')
    const value = Buffer.from(JSON.stringify({ format: FORMAT, id, created: new Date().toISOString() }))
    await level.put(FORMAT_KEY, value, SYNCED)
    return id
  }
  try {
    const { format, id } = JSON.parse(meta.toString()) as { format: unknown; id: unknown }
    if (format === FORMAT && typeof id === 'string' && /^[0-9a-f]{16}$/.test(id)) return id
  } catch {
    // falls through to the refusal
  }
  throw new ObjectError(
    'DATABASE_FORMAT',
    `${location} has a format that this version (format ${FORMAT}) does not know: ${meta.toString('utf8', 0, 100)}`,
  )
}

function readSync(level: Level, key: Buffer): Buffer | undefined {
  try {
    return level.getSync(key, BINARY)
  } catch (error) {
    throw unreadable(error)
  }
}

export interface Packed {
  /** The last transaction whose history was forgotten; 0 if none was. */
  readonly tid: Tid
  /** How many transactions up to it were left; undefined if that is not known. */
  readonly left: number | undefined
}

/** @throws {ObjectError} DATABASE_CORRUPT */
export function readPacked(level: Level): Packed {
  const bytes = readSync(level, PACKED_KEY)
  if (bytes === undefined || bytes.length !== 16) return { tid: 0, left: undefined }
  const left = readUInt64(bytes, 8)
  return { tid: readUInt64(bytes, 0), left: left === 0 ? undefined : left - 1 }
}

/** The tid (8 bytes), and one more than the number of transactions left up to it; 0 if that is not known. */
export function packedOperation({ tid, left }: Packed): Operation {
  const bytes = Buffer.alloc(16)
  writeUInt64(bytes, tid, 0)
  writeUInt64(bytes, left === undefined ? 0 : left + 1, 8)
  return [PACKED_KEY, bytes]
}
