/**
 * The batches in LevelDB's log (its db/write_batch.cc): whether their counts and contents agree, and whether the numbers of their writes ascend: LevelDB
 * ends the process where two writes have one number. However long a batch is, only its lengths are kept.
 *
 *     number of the first write (8 bytes, little endian), number of writes (4)
 *     writes: 1, length of the key, the key, length of the value, the value; or 0, length of the key, the key
 */
import { Unsound } from './table-block.ts'

const HEADER = 12
const MOST = 2 ** 32

type Next = 'kind' | 'length of key' | 'key' | 'length of value' | 'value'

export class BatchReader {
  /** Of the whole batches so far. */
  lastWrite = 0
  private readonly header = Buffer.alloc(HEADER)
  private headed = 0
  private last = 0
  private found = 0
  private next: Next = 'kind'
  private hasValue = false
  private length = 0
  private scale = 1

  /** @throws {Unsound} */
  take(part: Buffer, { begins, ends }: { readonly begins: boolean; readonly ends: boolean }): void {
    if (begins) this.headed = 0
    let at = 0
    if (this.headed < HEADER) {
      at = part.copy(this.header, this.headed)
      this.headed += at
      if (this.headed === HEADER) this.begin()
    }
    while (at < part.length) {
      if (this.next === 'key' || this.next === 'value') {
        const some = Math.min(this.length, part.length - at)
        at += some
        this.length -= some
        if (this.length === 0) this.passed()
      } else this.byte(part[at++]!)
    }
    if (ends) this.end()
  }

  private begin(): void {
    const number = this.header.readUIntLE(0, 6) + this.header.readUInt16LE(6) * 2 ** 48
    const last = number + this.count - 1
    if (number <= this.lastWrite || !Number.isSafeInteger(last))
      throw new Unsound(
        `expected a batch of writes after ${this.lastWrite} and below 2^53, found ${this.count} from ${number} on`,
      )
    this.last = last
    this.found = 0
    this.next = 'kind'
  }

  private get count(): number {
    return this.header.readUInt32LE(8)
  }

  private byte(byte: number): void {
    if (this.next === 'kind') {
      if (byte > 1) throw new Unsound(`expected a write of kind 0 or 1, found ${byte}`)
      this.hasValue = byte === 1
      this.next = 'length of key'
      this.length = 0
      this.scale = 1
      return
    }
    this.length += (byte & 127) * this.scale
    this.scale *= 128
    if (this.length >= MOST || this.scale > MOST * 8)
      throw new Unsound('expected a length below 2^32, found a greater one')
    if (byte > 127) return
    this.next = this.next === 'length of key' ? 'key' : 'value'
    if (this.length === 0) this.passed()
  }

  /** A key, or a value, has been passed over. */
  private passed(): void {
    if (this.next === 'key' && this.hasValue) {
      this.next = 'length of value'
      this.length = 0
      this.scale = 1
      return
    }
    this.found += 1
    this.next = 'kind'
  }

  private end(): void {
    if (this.headed < HEADER) throw new Unsound(`expected a batch of ${HEADER} bytes or more, found ${this.headed}`)
    if (this.next !== 'kind') throw new Unsound('the batch ends within a write')
    if (this.found !== this.count) throw new Unsound(`expected a batch of ${this.count} writes, found ${this.found}`)
    this.lastWrite = Math.max(this.lastWrite, this.last)
  }
}
