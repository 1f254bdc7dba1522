/**
 * The bytes of states (lib/pickle.ts has the format): MessagePack with our two extension types, each number, length and text as short as
 * it can be.
 *
 * They go into a slab that many states share, each behind room for the header of its record. What was handed out is never written again.
 */
import { FIXEXT_1, type Kind, REFERENCE, SPECIAL } from './pickle-values.ts'
import type { Reference } from './reference.ts'

const SLAB = 64 * 1024
/** Texts up to this length are written character by character. */
const SHORT = 40

let slab = Buffer.allocUnsafeSlow(SLAB)
let at = 0

/** One state at a time: `begin`, what it consists of, `written`. */
export class ByteWriter {
  /** Where the bytes of the state in hand begin, its room included. */
  private from = 0

  /** @param room bytes to leave free in front */
  protected begin(room: number): void {
    this.from = at
    this.need(room)
    at += room
  }

  /** Takes back what was written since `begin`. */
  protected rewind(): void {
    at = this.from
  }

  /** What was written since `begin`, room included. */
  protected written(): Buffer {
    return slab.subarray(this.from, at)
  }

  /** Makes sure that there is place for that many bytes. */
  private need(bytes: number): void {
    if (at + bytes <= slab.length) return
    const written = at - this.from
    const larger = Buffer.allocUnsafeSlow(Math.max(SLAB, (written + bytes) * 2))
    slab.copy(larger, 0, this.from, at)
    slab = larger
    this.from = 0
    at = written
  }

  protected byte(value: number): void {
    this.need(1)
    slab[at++] = value
  }

  private head(count: number, fix: number, most: number, head16: number): void {
    this.need(5)
    if (count <= most) slab[at++] = fix | count
    else if (count <= 0xffff) {
      slab[at] = head16
      at = slab.writeUInt16BE(count, at + 1)
    } else {
      slab[at] = head16 + 1
      at = slab.writeUInt32BE(count, at + 1)
    }
  }

  protected mapHead(count: number): void {
    this.head(count, 0x80, 15, 0xde)
  }

  protected arrayHead(count: number): void {
    this.head(count, 0x90, 15, 0xdc)
  }

  /**
   * A list whose length is told when it has been written.
   * @returns what tells it
   */
  protected openList(): (length: number) => void {
    this.need(5)
    slab[at] = 0xdd
    const place = at + 1 - this.from
    at += 5
    return length => void slab.writeUInt32BE(length, this.from + place)
  }

  /** The head of a value of an extension type, of which msgpackr's `undefined` is one; what it holds follows. */
  private extension(type: number): void {
    this.need(3)
    slab[at++] = FIXEXT_1
    slab[at++] = type
    slab[at++] = 0
  }

  protected undefined(): void {
    this.extension(0)
  }

  protected reference({ oid, className }: Reference): void {
    this.extension(REFERENCE)
    this.arrayHead(2)
    this.number(oid)
    this.text(className)
  }

  /** @param count how many values follow the kind */
  protected special(kind: Kind, count: number): void {
    this.extension(SPECIAL)
    this.arrayHead(1 + count)
    this.text(kind)
  }

  protected number(value: number): void {
    this.need(9)
    if (value >>> 0 === value) {
      if (value === 0 && Object.is(value, -0)) {
        this.special('minus zero', 0)
      } else if (value < 0x80) slab[at++] = value
      else if (value < 0x100) {
        slab[at++] = 0xcc
        slab[at++] = value
      } else if (value < 0x10000) {
        slab[at++] = 0xcd
        slab[at++] = value >>> 8
        slab[at++] = value & 0xff
      } else {
        slab[at++] = 0xce
        slab[at++] = value >>> 24
        slab[at++] = (value >>> 16) & 0xff
        slab[at++] = (value >>> 8) & 0xff
        slab[at++] = value & 0xff
      }
    } else if (value >> 0 === value && value >= -32) slab[at++] = value & 0xff
    else if (value >> 0 === value) {
      slab[at] = 0xd2
      at = slab.writeInt32BE(value, at + 1)
    } else {
      slab[at] = 0xcb
      at = slab.writeDoubleBE(value, at + 1)
    }
  }

  /** @returns whether the text can be written as such: it has whole characters only. Otherwise nothing was written. */
  protected text(value: string): boolean {
    const { length } = value
    this.need(5 + length * 3)
    if (length <= SHORT) {
      let to = at + (length < 32 ? 1 : 2)
      let i = 0
      for (; i < length; i++) {
        const code = value.charCodeAt(i)
        if (code >= 0x80) break
        slab[to++] = code
      }
      if (i === length) {
        if (length < 32) slab[at] = 0xa0 | length
        else {
          slab[at] = 0xd9
          slab[at + 1] = length
        }
        at = to
        return true
      }
    }
    const guess = headOf(length)
    const bytes = slab.write(value, at + guess)
    if (bytes !== length && !value.isWellFormed()) return false
    const head = headOf(bytes)
    if (head !== guess) slab.copyWithin(at + head, at + guess, at + guess + bytes)
    if (head === 1) slab[at] = 0xa0 | bytes
    else if (head === 2) {
      slab[at] = 0xd9
      slab[at + 1] = bytes
    } else if (head === 3) {
      slab[at] = 0xda
      slab.writeUInt16BE(bytes, at + 1)
    } else {
      slab[at] = 0xdb
      slab.writeUInt32BE(bytes, at + 1)
    }
    at += head + bytes
    return true
  }

  protected bytes(value: Uint8Array): void {
    const { length } = value
    this.need(5)
    if (length < 0x100) {
      slab[at++] = 0xc4
      slab[at++] = length
    } else if (length < 0x10000) {
      slab[at] = 0xc5
      at = slab.writeUInt16BE(length, at + 1)
    } else {
      slab[at] = 0xc6
      at = slab.writeUInt32BE(length, at + 1)
    }
    this.raw(value)
  }

  protected raw(value: Uint8Array): void {
    this.need(value.length)
    slab.set(value, at)
    at += value.length
  }
}

/** Bytes before a text of that many bytes. */
const headOf = (bytes: number): number => (bytes < 32 ? 1 : bytes < 0x100 ? 2 : bytes < 0x10000 ? 3 : 5)
