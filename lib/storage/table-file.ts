/**
 * LevelDB's table files (its doc/table_format.md): whether one is as it was written, told by the checksums that it has itself, and, where nobody vouches
 * for those, by the order of its keys. LevelDB does not look at them, and ends the process at what it takes for a key. A table whose checksum we have is not looked at like this.
 *
 *     data blocks, each with a type (0 as it is, 1 Snappy) and the masked CRC-32C of both (4 bytes)
 *     a block of filters, a block that names it, a block that lists the data blocks: with types and checksums, too
 *     footer, 48 bytes: where the last two of them are, and a number that all tables end with
 *
 * table-block.ts tells what is within a block.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { messageOf } from '../errors.ts'
import { crc32c, masked } from './crc32c.ts'
import type { Looking, Part } from './looking.ts'
import { unsnapped } from './snappy.ts'
import { compareKeys, eachEntry, KEY_TRAILER, type Keys, keysOf, Reader, shown, Unsound } from './table-block.ts'

/** Without its type and checksum. */
export interface Block extends Part {
  /** No key of the block comes after it. */
  readonly key: Buffer
}

/** What is damaged. */
export interface Damage {
  /** The list of blocks; then nothing is known of the others. */
  readonly list: boolean
  /** Data blocks that are as they were, in order. */
  readonly sound: readonly Block[]
  /** How many blocks are not. */
  readonly lost: number
  /** What was found first: where, what was expected, and what there is. */
  readonly problem: string
}

export interface Looked {
  /** Undefined if all of it is as it was. */
  readonly damage: Damage | undefined
  /** Of the blocks that are sound, if they were asked for. */
  readonly keys: Keys | undefined
}

const FOOTER = 48
const TRAILER = 5
const MAGIC = 0xdb4775248b80fb57n
/** Bytes of a list of blocks: LevelDB ends a table of ours after 2 MiB and a record, and its list has 50 KiB. */
const MOST_LISTED = 4 * 1024 * 1024
/** Bytes of a block: it has 4 KiB and a record. */
const MOST_IN_BLOCK = 1024 * 1024 * 1024

/**
 * Looks through a table. Its blocks are read one at a time.
 * @param inOrder whether to look at the keys, too: LevelDB writes none in disorder, and what it has compressed takes ten times as long
 */
export function* lookInto(size: number, inOrder: boolean): Looking<Looked> {
  let blocks: readonly Block[]
  const sound: Block[] = []
  let lost = 0
  let problem: string | undefined
  let keys: Keys | undefined
  try {
    const [named, list] = yield* partsOf(size)
    blocks = listOf(yield* contentOf(list, size, 'the list of blocks', MOST_LISTED), size)
    try {
      yield* lookIntoNamed(named, size)
    } catch (error) {
      lost += 1
      problem = messageOf(error)
    }
  } catch (error) {
    return { damage: { list: true, sound, lost: 0, problem: messageOf(error) }, keys: undefined }
  }
  for (const [i, block] of blocks.entries()) {
    try {
      const bytes = yield* sealedAt(block, size, 'a block', MOST_IN_BLOCK)
      if (inOrder) {
        const found = within(block, () => keysOf(plain(bytes), blocks[i - 1]?.key, block.key))
        const before: Keys = keys ?? found
        keys = { ...found, first: before.first, lastWrite: Math.max(before.lastWrite, found.lastWrite) }
      }
      sound.push(block)
    } catch (error) {
      lost += 1
      problem ??= messageOf(error)
    }
  }
  return { damage: problem === undefined ? undefined : { list: false, sound, lost, problem }, keys }
}

/** Where the block that names the filters is, and the one that lists the others. @throws {Unsound} */
function* partsOf(size: number): Looking<[named: Part, list: Part]> {
  const footer = yield { offset: Math.max(0, size - FOOTER), size: FOOTER }
  if (footer.length < FOOTER || footer.readBigUInt64LE(FOOTER - 8) !== MAGIC)
    throw new Unsound(`it does not end as a table does, after ${size} bytes`)
  const handles = new Reader(footer)
  return [partAt(handles), partAt(handles)]
}

const partAt = (reader: Reader): Part => ({ offset: reader.number(), size: reader.number() })

/** What a list of blocks says. @throws {Unsound} if LevelDB would not find a key by it */
function listOf(list: Buffer, size: number): readonly Block[] {
  const entries: Block[] = []
  let end = 0
  eachEntry(list, (key, value) => {
    writeOfListed(key)
    const before = entries.at(-1)
    if (before !== undefined && compareKeys(before.key, key) >= 0)
      throw new Unsound(`the list of blocks has ${shown(key)} after ${shown(before.key)}`)
    const { offset, size: length } = partAt(new Reader(value))
    if (offset < end || offset + length + TRAILER > size)
      throw new Unsound(
        `the list of blocks has one of ${length} bytes at ${offset}, expected between ${end} and ${size}`,
      )
    end = offset + length + TRAILER
    entries.push({ key, offset, size: length })
  })
  return entries
}

/** The keys there have no writes of their own. */
function writeOfListed(key: Buffer): void {
  if (key.length < KEY_TRAILER) throw new Unsound(`the list of blocks has a key ${shown(key)}, which is too short`)
}

/** The filters, which LevelDB looks for by their name. @throws {Unsound} */
function* lookIntoNamed(named: Part, size: number): Looking<void> {
  const names = yield* contentOf(named, size, 'the names of the filters', MOST_LISTED)
  const parts: Part[] = []
  within(named, () => eachEntry(names, (_, value) => void parts.push(partAt(new Reader(value)))))
  for (const part of parts) yield* contentOf(part, size, 'a filter', MOST_IN_BLOCK)
}

/** @returns the block with its type. @throws {Unsound} */
function* sealedAt({ offset, size: length }: Part, size: number, what: string, most: number): Looking<Buffer> {
  if (length > most || offset + length + TRAILER > size)
    throw new Unsound(
      `${what} has ${length} bytes at ${offset}, expected ${most} at most, and no more than the file's ${size}`,
    )
  const block = yield { offset, size: length + TRAILER }
  const checksum = block.length < length + TRAILER ? -1 : block.readUInt32LE(length + 1)
  if (checksum !== masked(crc32c(block.subarray(0, length + 1))))
    throw new Unsound(`at ${offset}, ${what}: the checksum of its ${length} bytes does not agree`)
  return block.subarray(0, length + 1)
}

/** @throws {Unsound} */
function* contentOf(part: Part, size: number, what: string, most: number): Looking<Buffer> {
  const block = yield* sealedAt(part, size, what, most)
  return within(part, () => plain(block, most))
}

/**
 * What is in a block.
 * @param block with its type
 * @throws {Unsound}
 */
export function plain(block: Buffer, most = MOST_IN_BLOCK): Buffer {
  const type = block.at(-1)!
  if (type > 1) throw new Unsound(`expected a block of type 0 or 1, found ${type}`)
  const content = block.subarray(0, -1)
  return type === 1 ? unsnapped(content, most) : content
}

/** Has what is thrown tell where. */
function within<T>({ offset }: Part, read: () => T): T {
  try {
    return read()
  } catch (error) {
    throw new Unsound(`in the block at ${offset}: ${messageOf(error)}`)
  }
}

/**
 * Makes of a damaged table one that LevelDB can read, with the blocks that are sound; the damaged one stays beside it as `<path>.damaged`. It
 * has the same size, since LevelDB's list of its files says it.
 * @param size bytes that it is to have
 */
export function leaveOut(sound: readonly Block[], path: string, size: number): void {
  const bytes = Buffer.alloc(size)
  readFileSync(path).copy(bytes)
  const kept = [...sound]
  const names = sealed(blockOf([]))
  for (;;) {
    const last = kept.at(-1)
    const start = last === undefined ? 0 : last.offset + last.size + TRAILER
    const list = sealed(blockOf(kept.map(block => [block.key, handle(block)])))
    const end = start + names.length + list.length
    if (end + FOOTER > size && last !== undefined) {
      // what is not compressed may need more room
      kept.pop()
      continue
    }
    const footer = Buffer.alloc(FOOTER)
    const named = handle({ offset: start, size: names.length - TRAILER })
    Buffer.concat([named, handle({ offset: start + names.length, size: list.length - TRAILER })]).copy(footer)
    footer.writeBigUInt64LE(MAGIC, FOOTER - 8)
    for (const [at, part] of [
      [start, names],
      [start + names.length, list],
      [size - FOOTER, footer],
    ] as const)
      part.copy(bytes, at)
    break
  }
  const file = openSync(`${path}.new`, 'w', 0o600)
  try {
    for (let at = 0; at < size; ) at += writeSync(file, bytes, at)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(path, `${path}.damaged`)
  renameSync(`${path}.new`, path)
}

/** A block of these entries. They share nothing, and each has its offset. */
function blockOf(entries: readonly (readonly [Buffer, Buffer])[]): Buffer {
  const parts: Buffer[] = []
  const offsets: number[] = []
  let length = 0
  for (const [key, value] of entries) {
    const part = Buffer.concat([numbers(0, key.length, value.length), key, value])
    parts.push(part)
    offsets.push(length)
    length += part.length
  }
  if (offsets.length === 0) offsets.push(0)
  const end = Buffer.alloc(4 * offsets.length + 4)
  for (const [i, number] of [...offsets, offsets.length].entries()) end.writeUInt32LE(number, 4 * i)
  return Buffer.concat([...parts, end])
}

const handle = ({ offset, size }: Part): Buffer => numbers(offset, size)

function numbers(...values: number[]): Buffer {
  const bytes: number[] = []
  for (let value of values) {
    for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128)
    bytes.push(value)
  }
  return Buffer.from(bytes)
}

/** A block with its type and checksum. */
function sealed(block: Buffer): Buffer {
  const trailer = Buffer.alloc(TRAILER)
  trailer.writeUInt32LE(masked(crc32c(Buffer.concat([block, trailer.subarray(0, 1)]))), 1)
  return Buffer.concat([block, trailer])
}
