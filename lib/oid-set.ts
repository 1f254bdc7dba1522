/** A set of oids, in bits: a million neighbours take 128 KiB. */
import type { Oid } from './ids.ts'

const CHUNK = 1 << 15

export class OidSet {
  private readonly chunks = new Map<number, Uint32Array>()
  private count = 0

  get size(): number {
    return this.count
  }

  has(oid: Oid): boolean {
    const bits = this.chunks.get(Math.floor(oid / CHUNK))
    const bit = oid % CHUNK
    return bits !== undefined && (bits[bit >>> 5]! & (1 << (bit & 31))) !== 0
  }

  /** @returns whether it was new */
  add(oid: Oid): boolean {
    const number = Math.floor(oid / CHUNK)
    let bits = this.chunks.get(number)
    if (bits === undefined) {
      bits = new Uint32Array(CHUNK >>> 5)
      this.chunks.set(number, bits)
    }
    const bit = oid % CHUNK
    const mask = 1 << (bit & 31)
    if ((bits[bit >>> 5]! & mask) !== 0) return false
    bits[bit >>> 5]! |= mask
    this.count += 1
    return true
  }

  delete(oid: Oid): void {
    if (!this.has(oid)) return
    const bit = oid % CHUNK
    this.chunks.get(Math.floor(oid / CHUNK))![bit >>> 5]! &= ~(1 << (bit & 31))
    this.count -= 1
  }
}
