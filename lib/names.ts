/**
 * Names that records repeat: of attributes and classes. Each is made a string once, as long as no other one takes its place in the table;
 * the engine then finds it quickly among an object's attributes.
 */
const SLOTS = 1024
const names: string[] = new Array(SLOTS).fill('')

/** The UTF-8 text in bytes. */
export function nameIn(bytes: Buffer, start: number, end: number): string {
  const length = end - start
  if (length > 40) return bytes.toString('utf8', start, end)
  let hash = length
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) & (SLOTS - 1)
  const known = names[hash]!
  if (known.length === length) {
    let i = 0
    while (i < length && known.charCodeAt(i) === bytes[start + i]) i++
    if (i === length) return known
  }
  const name = bytes.toString('utf8', start, end)
  // as many characters as bytes: they are the same, or none that a byte equals
  if (name.length === length) names[hash] = name
  return name
}
