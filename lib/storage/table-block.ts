/**
 * A block of one of LevelDB's tables (its doc/table_format.md, db/dbformat.h), as strictly as LevelDB writes it: what it reads it does not check,
 * but ends the process where it meets something else.
 *
 *     entries: length shared with the key before, length of the rest of the key, length of the value, the rest, the value
 *     offsets of entries that share nothing (4 bytes each): of the first, and of each sixteenth at least; their number (4)
 *
 * Keys are the user's, then 8 bytes, little endian: the kind (0 deleted, 1 a value) and the number of the write. They are in the order of
 * the user's keys, and where these are the same the later write comes first.
 */

/** What is not as LevelDB writes it: the message tells what was expected and what was found. */
export class Unsound extends Error {}

/** A key ends with the number of its write and its kind. */
export const KEY_TRAILER = 8
const MOST_BETWEEN_OFFSETS = 16

/** Reads numbers of varying length, and what they are the lengths of. */
export class Reader {
  private at = 0
  private readonly bytes: Buffer
  private readonly end: number

  constructor(bytes: Buffer, end = bytes.length) {
    this.bytes = bytes
    this.end = end
  }

  get position(): number {
    return this.at
  }

  get ended(): boolean {
    return this.at >= this.end
  }

  /** @throws {Unsound} */
  number(): number {
    let value = 0
    for (let scale = 1; scale <= 2 ** 49; scale *= 128) {
      if (this.at >= this.end) throw new Unsound('it ends within a number')
      const byte = this.bytes[this.at++]!
      value += (byte & 127) * scale
      if (byte < 128 && Number.isSafeInteger(value)) return value
    }
    throw new Unsound('expected a number below 2^53, found a greater one')
  }

  /** @throws {Unsound} */
  take(length: number): Buffer {
    if (length > this.end - this.at) throw new Unsound(`expected ${length} further bytes, found ${this.end - this.at}`)
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }
}

/** Calls `take` with each entry. @throws {Unsound} */
export function eachEntry(block: Buffer, take: (key: Buffer, value: Buffer) => void): void {
  const count = block.length < 4 ? 0 : block.readUInt32LE(block.length - 4)
  const end = block.length - 4 - 4 * count
  if (count === 0 || end < 0) throw new Unsound(`expected offsets at the end of ${block.length} bytes, found ${count}`)
  const reader = new Reader(block, end)
  let key: Buffer = Buffer.alloc(0)
  let offsets = 0
  let since = 0
  while (!reader.ended || offsets === 0) {
    const start = reader.position
    const due = offsets < count ? block.readUInt32LE(end + 4 * offsets) : undefined
    if (due === start) {
      offsets += 1
      since = 0
    } else if ((due !== undefined && due < start) || offsets === 0 || ++since >= MOST_BETWEEN_OFFSETS)
      throw new Unsound(`expected the offset of the entry at ${start}, found ${due ?? 'none'}`)
    // of one without entries, too, the first offset is there
    if (reader.ended) break
    const [shared, rest, length] = [reader.number(), reader.number(), reader.number()]
    if (shared > (due === start ? 0 : key.length))
      throw new Unsound(`the key at ${start} shares ${shared} bytes, which are not there`)
    key = Buffer.concat([key.subarray(0, shared), reader.take(rest)])
    take(key, reader.take(length))
  }
  if (offsets < count)
    throw new Unsound(`an offset leads to ${block.readUInt32LE(end + 4 * offsets)}, where there is no entry`)
}

/** LevelDB's order. Both have 8 bytes at least. */
export function compareKeys(a: Buffer, b: Buffer): number {
  const order = a.compare(b, 0, b.length - KEY_TRAILER, 0, a.length - KEY_TRAILER)
  if (order !== 0) return order
  const [one, other] = [a.readBigUInt64LE(a.length - KEY_TRAILER), b.readBigUInt64LE(b.length - KEY_TRAILER)]
  return one === other ? 0 : one > other ? -1 : 1
}

/** @returns the number of the write. @throws {Unsound} if LevelDB could not have written such a key */
export function writeOf(key: Buffer): number {
  const at = key.length - KEY_TRAILER
  if (at < 0) throw new Unsound(`expected a key of ${KEY_TRAILER} bytes or more, found ${shown(key)}`)
  const write = key.readUIntLE(at + 1, 6) + key[at + 7]! * 2 ** 48
  if (key[at]! > 1 || !Number.isSafeInteger(write))
    throw new Unsound(`expected a key that ends with a kind of 0 or 1 and the number of a write, found ${shown(key)}`)
  return write
}

/** The first and the last key of a block, or a table, and the number of the last write. */
export interface Keys {
  readonly first: Buffer
  readonly last: Buffer
  readonly lastWrite: number
}

/**
 * @param after comes before all of them; undefined if there is none
 * @param upTo comes after none of them; undefined if that is not known
 * @throws {Unsound} if they are not in order, or there are none
 */
export function keysOf(block: Buffer, after?: Buffer, upTo?: Buffer): Keys {
  let first: Buffer | undefined
  let last = after
  let lastWrite = 0
  eachEntry(block, key => {
    lastWrite = Math.max(lastWrite, writeOf(key))
    if (last !== undefined && compareKeys(last, key) >= 0)
      throw new Unsound(`expected a key after ${shown(last)}, found ${shown(key)}`)
    first ??= key
    last = key
  })
  if (first === undefined || last === undefined) throw new Unsound('expected keys, found none')
  if (upTo !== undefined && compareKeys(last, upTo) > 0)
    throw new Unsound(`expected no key after ${shown(upTo)}, found ${shown(last)}`)
  return { first, last, lastWrite }
}

/** For messages. */
export const shown = (key: Buffer): string =>
  key.length === 0 ? 'an empty one' : key.length > 40 ? `${key.toString('hex', 0, 40)}...` : key.toString('hex')
