/** Reading what Snappy has compressed (its format_description.txt): the lists of blocks in LevelDB's tables may be. */

/** More is no list of blocks of ours. */
const MOST = 1 << 26

/** @throws {RangeError} for what is none */
export function unsnapped(bytes: Uint8Array): Buffer {
  let at = 0
  const next = (count: number): number => {
    let value = 0
    for (let i = 0; i < count; i++) {
      const byte = bytes[at++]
      if (byte === undefined) throw new RangeError('it ends too early')
      value += byte * 256 ** i
    }
    return value
  }
  let length = 0
  for (let scale = 1; ; scale *= 128) {
    const byte = next(1)
    length += (byte & 127) * scale
    if (byte < 128) break
    if (scale > MOST) throw new RangeError('it is too long')
  }
  if (length > MOST) throw new RangeError('it is too long')
  const found = Buffer.alloc(length)
  let end = 0
  const fits = (size: number) => {
    if (end + size > length) throw new RangeError('there is more than was said')
  }
  while (at < bytes.length) {
    const tag = next(1)
    const kind = tag & 3
    if (kind === 0) {
      const size = (tag >>> 2 < 60 ? tag >>> 2 : next((tag >>> 2) - 59)) + 1
      fits(size)
      if (at + size > bytes.length) throw new RangeError('it ends too early')
      found.set(bytes.subarray(at, at + size), end)
      at += size
      end += size
      continue
    }
    const size = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
    const offset = kind === 1 ? ((tag >>> 5) << 8) + next(1) : next(kind === 2 ? 2 : 4)
    fits(size)
    if (offset === 0 || offset > end) throw new RangeError('it leads to before its beginning')
    // what is copied may be in the making
    for (let i = 0; i < size; i++, end++) found[end] = found[end - offset]!
  }
  if (end !== length) throw new RangeError('there is less than was said')
  return found
}
