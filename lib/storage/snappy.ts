/** Reading what Snappy has compressed (its format_description.txt): the blocks of LevelDB's tables are. */

/** No three bytes become more than 64. */
const MOST_GAIN = 22
/** Bytes that are copied faster one by one than by a call. */
const SHORT = 100

/**
 * @param most bytes that it may have
 * @throws {RangeError} for what is none
 */
export function unsnapped(bytes: Uint8Array, most: number): Buffer {
  let at = 0
  let length = 0
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[at++]
    if (byte === undefined) throw early()
    length += (byte & 127) * scale
    if (byte < 128) break
    if (scale > most) throw new RangeError(`it is said to have more than ${most} bytes`)
  }
  if (length > Math.min(most, bytes.length * MOST_GAIN))
    throw new RangeError(`it is said to become ${length} bytes, which ${bytes.length} cannot`)
  const found = Buffer.allocUnsafe(length)
  let end = 0
  while (at < bytes.length) {
    const tag = bytes[at++]!
    const kind = tag & 3
    // how many bytes behind the tag are a number
    const wide = kind === 0 ? Math.max(0, (tag >>> 2) - 59) : kind === 3 ? 4 : kind
    if (at + wide > bytes.length) throw early()
    let number = 0
    for (let i = wide - 1; i >= 0; i--) number = number * 256 + bytes[at + i]!
    at += wide
    const size =
      kind === 0 ? (wide === 0 ? tag >>> 2 : number) + 1 : kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
    const stop = end + size
    if (stop > length) throw new RangeError('there is more than was said')
    if (kind === 0) {
      if (at + size > bytes.length) throw early()
      if (size > SHORT) {
        found.set(bytes.subarray(at, at + size), end)
        at += size
        end = stop
      } else while (end < stop) found[end++] = bytes[at++]!
      continue
    }
    let from = end - (kind === 1 ? ((tag >>> 5) << 8) + number : number)
    if (from === end || from < 0) throw new RangeError('it leads to before its beginning')
    // what is copied may be in the making
    while (end < stop) found[end++] = found[from++]!
  }
  if (end !== length) throw new RangeError('there is less than was said')
  return found
}

const early = (): RangeError => new RangeError('it ends too early')
