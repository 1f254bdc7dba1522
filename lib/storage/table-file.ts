/**
 * LevelDB's table files (its doc/table_format.md): whether one is as it was written, told by the checksums that it has itself. LevelDB does not
 * look at them, and ends the process at what it takes for a key. A table whose checksum we have is not looked at like this.
 *
 *     data blocks, each with a type (0 as it is, 1 Snappy) and the masked CRC-32C of both (4 bytes)
 *     a block of filters, a block that names it, a block that lists the data blocks: with types and checksums, too
 *     footer, 48 bytes: where the last two of them are, and a number that all tables end with
 *
 * Within a block: entries (length shared with the key before, length of the rest of the key, length of the value, rest, value), offsets of
 * some entries (4 bytes each), their number (4).
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { crc32c } from './crc32c.ts'
import { unsnapped } from './snappy.ts'

/** A part of the file; of a block without its type and checksum. */
export interface Part {
  readonly offset: number
  readonly size: number
}

interface Entry extends Part {
  /** No key of the block comes after it. */
  readonly key: Buffer
}

/** What is damaged. */
export interface Damage {
  /** The list of blocks; then nothing is known of the others. */
  readonly list: boolean
  /** Data blocks that are as they were, in order. */
  readonly sound: readonly Entry[]
  /** How many blocks are not. */
  readonly lost: number
}

const FOOTER = 48
const TRAILER = 5
const MAGIC = 0xdb4775248b80fb57n

/**
 * Looks through a table: asks for parts of the file, and is to be given them. Large ones are read one at a time.
 * @returns undefined if all of it is as it was
 */
export function* damageIn(size: number): Generator<Part, Damage | undefined, Buffer> {
  const unlisted: Damage = { list: true, sound: [], lost: 0 }
  let blocks: Entry[]
  let lost = 0
  let end = 0
  try {
    if (size < FOOTER) return unlisted
    const footer = yield { offset: size - FOOTER, size: FOOTER }
    if (footer.readBigUInt64LE(FOOTER - 8) !== MAGIC) return unlisted
    const handles = new Reader(footer)
    const named = handles.part()
    const list = handles.part()
    const listed = contentOf(yield* withTrailer(list, size))
    if (listed === undefined) return unlisted
    blocks = entriesOf(listed).map(([key, value]) => ({ ...new Reader(value).part(), key }))
    const names = contentOf(yield* withTrailer(named, size))
    const others = names === undefined ? [] : entriesOf(names).map(([, value]) => new Reader(value).part())
    if (names === undefined) lost += 1
    for (const other of others) if (contentOf(yield* withTrailer(other, size)) === undefined) lost += 1
  } catch {
    // it ends within a number, or leads out of the file
    return unlisted
  }
  const sound: Entry[] = []
  for (const block of blocks) {
    if (block.offset < end || block.offset + block.size + TRAILER > size) return unlisted
    end = block.offset + block.size + TRAILER
    if (isSound(yield* withTrailer(block, size))) sound.push(block)
    else lost += 1
  }
  return lost === 0 ? undefined : { list: false, sound, lost }
}

function* withTrailer({ offset, size }: Part, length: number): Generator<Part, Buffer, Buffer> {
  if (offset + size + TRAILER > length) throw new RangeError('a block leads out of the file')
  return yield { offset, size: size + TRAILER }
}

/** LevelDB's checksums are masked, since they may be taken of what contains checksums. */
const masked = (checksum: number): number => (((checksum >>> 15) | (checksum << 17)) + 0xa282ead8) >>> 0

function isSound(block: Buffer): boolean {
  const end = block.length - 4
  return end > 0 && masked(crc32c(block.subarray(0, end))) === block.readUInt32LE(end)
}

function contentOf(block: Buffer): Buffer | undefined {
  if (!isSound(block)) return undefined
  const content = block.subarray(0, -TRAILER)
  return block.at(-TRAILER) === 1 ? unsnapped(content) : content
}

class Reader {
  private at = 0
  private readonly bytes: Buffer

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  get position(): number {
    return this.at
  }

  number(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      const byte = this.bytes[this.at++]
      if (byte === undefined) break
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
    throw new RangeError('the block ends within a number')
  }

  part(): Part {
    return { offset: this.number(), size: this.number() }
  }

  take(length: number): Buffer {
    this.at += length
    if (this.at > this.bytes.length) throw new RangeError('the block ends within an entry')
    return this.bytes.subarray(this.at - length, this.at)
  }
}

function entriesOf(block: Buffer): [key: Buffer, value: Buffer][] {
  const end = block.length - 4 - 4 * block.readUInt32LE(block.length - 4)
  const reader = new Reader(block)
  const found: [Buffer, Buffer][] = []
  let key: Buffer = Buffer.alloc(0)
  while (reader.position < end) {
    const [shared, rest, length] = [reader.number(), reader.number(), reader.number()]
    key = Buffer.concat([key.subarray(0, shared), reader.take(rest)])
    found.push([key, reader.take(length)])
  }
  return found
}

/**
 * Makes of a damaged table one that LevelDB can read, with the blocks that are sound; the damaged one stays beside it as `<path>.damaged`. It
 * has the same size, since LevelDB's list of its files says it.
 * @param size bytes that it is to have
 */
export function leaveOut({ sound }: Damage, path: string, size: number): void {
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

/** A block of these entries. */
function blockOf(entries: readonly (readonly [Buffer, Buffer])[]): Buffer {
  const parts: Buffer[] = []
  let before: Buffer = Buffer.alloc(0)
  for (const [key, value] of entries) {
    let shared = 0
    while (shared < key.length && key[shared] === before[shared]) shared += 1
    parts.push(numbers(shared, key.length - shared, value.length), key.subarray(shared), value)
    before = key
  }
  // one offset, that of the first entry
  return Buffer.concat([...parts, Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])])
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
