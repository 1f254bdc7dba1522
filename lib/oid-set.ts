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
    const bits = this.chunkOf(Math.floor(oid / CHUNK))
    const bit = oid % CHUNK
    const mask = 1 << (bit & 31)
    if ((bits[bit >>> 5]! & mask) !== 0) return false
    bits[bit >>> 5]! |= mask
    this.count += 1
    return true
  }

  /** Adds every oid from 1 up to one, that one excluded, which is not in another set. */
  addAbsent(other: OidSet, below: Oid): void {
    for (let number = 0; number * CHUNK < below; number++) {
      const bits = this.chunkOf(number)
      const others = other.chunks.get(number)
      for (let word = 0; word < bits.length; word++) {
        const first = number * CHUNK + word * 32
        if (first >= below) break
        let added = ~(others?.[word] ?? 0) & ~bits[word]!
        if (first === 0) added &= ~1
        if (below - first < 32) added &= (1 << (below - first)) - 1
        bits[word]! |= added
        for (; added !== 0; added &= added - 1) this.count += 1
      }
    }
  }

  delete(oid: Oid): void {
    if (!this.has(oid)) return
    const bit = oid % CHUNK
    this.chunks.get(Math.floor(oid / CHUNK))![bit >>> 5]! &= ~(1 << (bit & 31))
    this.count -= 1
  }

  private chunkOf(number: number): Uint32Array {
    let bits = this.chunks.get(number)
    if (bits === undefined) {
      bits = new Uint32Array(CHUNK >>> 5)
      this.chunks.set(number, bits)
    }
    return bits
  }
}
