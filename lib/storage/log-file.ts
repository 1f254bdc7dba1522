/**
 * LevelDB's logs (its doc/log_format.md), and its manifest, which is one: whether each is as it was written. LevelDB drops what it cannot read of
 * a log, and goes on; of a manifest it reads no more.
 *
 *     blocks of 32 KiB; within a block records: masked CRC-32C of type and content (4 bytes), length (2), type (1: whole, 2 first, 3 middle,
 *     4 last part), content; less than 7 bytes at the end of a block are not used
 *
 * A log may end within a record, or in nothing but zeros: the process was killed, or the power failed, while it was written. Nobody was told that
 * it had been.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../errors.ts'
import { BatchReader } from './batch-reader.ts'
import { crc32c, masked } from './crc32c.ts'
import { aside, atOnce, type Looking } from './looking.ts'
import { type Listed, logsFrom, nameOf } from './manifest.ts'
import { Unsound } from './table-block.ts'

const BLOCK = 32 * 1024
const HEADER = 7
const WHOLE = 1
const FIRST = 2
const LAST = 4

/** A part of a record; the bytes are gone when the next one comes. */
export type TakePart = (part: Buffer, ends: { readonly begins: boolean; readonly ends: boolean }) => void

/**
 * Goes through a log, a block at a time.
 * @param take may throw, where what it is given is not sound
 * @throws {Unsound} with the byte of the record at which it is damaged
 */
export function* recordsIn(size: number, take: TakePart): Looking<void> {
  let within = false
  let record = 0
  for (let start = 0; start < size; start += BLOCK) {
    const block = yield { offset: start, size: Math.min(BLOCK, size - start) }
    for (let at = 0; at + HEADER <= block.length; ) {
      if (!within) record = start + at
      try {
        if (isZero(block, at)) {
          yield* zeros(start + block.length, size)
          return
        }
        const part = partAt(block, at)
        if (part === undefined) return
        at += HEADER + part.length
        const type = block[at - part.length - 1]!
        const begins = type === WHOLE || type === FIRST
        const ends = type === WHOLE || type === LAST
        if (begins === within)
          throw new Unsound(`found part ${type} of a record ${within ? 'within' : 'outside of'} one`)
        within = !ends
        take(part, { begins, ends })
      } catch (error) {
        throw new Unsound(`in the record at ${record}: ${messageOf(error)}`)
      }
    }
  }
}

const isZero = (block: Buffer, from: number): boolean => block.subarray(from).every(byte => byte === 0)

/** @throws {Unsound} if there is something else */
function* zeros(from: number, size: number): Looking<void> {
  for (let at = from; at < size; at += BLOCK) {
    const block = yield { offset: at, size: Math.min(BLOCK, size - at) }
    if (!isZero(block, 0)) throw new Unsound('expected nothing but zeros up to the end, found something else')
  }
}

/** @returns the content; undefined if the log ends within it. @throws {Unsound} */
function partAt(block: Buffer, at: number): Buffer | undefined {
  const length = block.readUInt16LE(at + 4)
  const type = block[at + 6]!
  const end = at + HEADER + length
  if (type < WHOLE || type > LAST) throw new Unsound(`expected a part of type 1 to 4, found ${type}`)
  if (end > BLOCK)
    throw new Unsound(`expected a part that ends with its block of ${BLOCK} bytes, found ${length} bytes`)
  if (end > block.length) {
    const other = lengthAt(block, at)
    if (other === undefined) return undefined
    throw new Unsound(`expected a part of ${other} bytes by its checksum, found ${length}, which the log does not have`)
  }
  if (block.readUInt32LE(at) !== masked(crc32c(block.subarray(at + 6, end))))
    throw new Unsound(`the checksum of its ${length} bytes does not agree`)
  return block.subarray(at + HEADER, end)
}

/** How long a part is by its checksum, where the length that is said cannot be. */
function lengthAt(block: Buffer, at: number): number | undefined {
  const checksum = block.readUInt32LE(at)
  let crc = 0
  for (let end = at + 6; end < block.length; end++) {
    crc = crc32c(block.subarray(end, end + 1), crc)
    if (masked(crc) === checksum) return end - at - 6
  }
  return undefined
}

/** Looks through a log of batches. @throws {Unsound} */
function* batchesIn(size: number, batches: BatchReader): Looking<void> {
  yield* recordsIn(size, (part, ends) => batches.take(part, ends))
}

/** @param batches what was read of the logs before. @throws {Unsound} */
export async function lookIntoLog(path: string, batches: BatchReader): Promise<void> {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    await aside(file, batchesIn(fstatSync(file).size, batches))
  } finally {
    closeSync(file)
  }
}

export interface DamagedLog {
  readonly name: string
  readonly problem: string
}

/** The first log of a database that is damaged, or missing; undefined if there is none. They are looked through at once. */
export function damagedLog(directory: string, { log }: Listed): DamagedLog | undefined {
  const logs = logsFrom(directory, log)
  const first = nameOf(log, 'log')
  if (log > 0 && logs[0] !== first) return { name: first, problem: 'it is missing' }
  const batches = new BatchReader()
  for (const name of logs)
    try {
      atOnceIn(join(directory, name), batches)
    } catch (error) {
      return { name, problem: messageOf(error) }
    }
  return undefined
}

function atOnceIn(path: string, batches: BatchReader): void {
  const file = openSync(path, 'r')
  try {
    atOnce(file, batchesIn(fstatSync(file).size, batches))
  } finally {
    closeSync(file)
  }
}
