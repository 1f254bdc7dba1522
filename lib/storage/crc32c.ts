/** CRC-32C (RFC 3720, appendix B.4), which LevelDB's files have; Node knows CRC-32 only. Four bytes at a time. */
const TABLES = [0, 1, 2, 3].map(() => new Int32Array(256)) as [Int32Array, Int32Array, Int32Array, Int32Array]
const [T0, T1, T2, T3] = TABLES

function fill(): void {
  for (let n = 0; n < 256; n++) {
    let value = n
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
    T0[n] = value
  }
  for (const [i, table] of TABLES.entries())
    for (let n = 0; i > 0 && n < 256; n++) {
      const before = TABLES[i - 1]![n]!
      table[n] = (before >>> 8) ^ T0[before & 255]!
    }
}

/** @param before the checksum of what comes before these bytes */
export function crc32c(bytes: Uint8Array, before = 0): number {
  if (T0[1] === 0) fill()
  let crc = ~before
  let at = 0
  for (const whole = bytes.length - 3; at < whole; at += 4) {
    crc ^= bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
    crc = T3[crc & 255]! ^ T2[(crc >>> 8) & 255]! ^ T1[(crc >>> 16) & 255]! ^ T0[crc >>> 24]!
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ T0[(crc ^ bytes[at]!) & 255]!
  return ~crc >>> 0
}

/** LevelDB's checksums are masked, since they may be taken of what contains checksums. */
export const masked = (checksum: number): number => (((checksum >>> 15) | (checksum << 17)) + 0xa282ead8) >>> 0

/** @returns the end of the first part from there on that has a type of block (0 or 1) at its end, and its masked checksum behind that */
export function sealedEnd(bytes: Buffer, from: number): number | undefined {
  if (T0[1] === 0) fill()
  let crc = -1
  for (let at = from; at + 4 < bytes.length; at++) {
    const byte = bytes[at]!
    crc = (crc >>> 8) ^ T0[(crc ^ byte) & 255]!
    if (byte < 2 && masked(~crc >>> 0) === bytes.readUInt32LE(at + 1)) return at + 1
  }
  return undefined
}
