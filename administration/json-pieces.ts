/** JSON as `JSON.stringify(value, null, 2)` writes it, in pieces: a string has a greatest length, and a large tree has more. */

/** @param value data: what is in it has no `toJSON` but dates */
export function* jsonPieces(value: unknown, indent = ''): Generator<string> {
  const inner = `${indent}  `
  if (Array.isArray(value) && value.length > 0) {
    let before = '[\n'
    for (const each of value) {
      yield before + inner
      yield* jsonPieces(each ?? null, inner)
      before = ',\n'
    }
    yield `\n${indent}]`
  } else if (isRecord(value) && Object.values(value).some(isLong)) {
    let before = '{\n'
    for (const [key, each] of Object.entries(value)) {
      if (each === undefined) continue
      yield `${before}${inner}${JSON.stringify(key)}: `
      yield* jsonPieces(each, inner)
      before = ',\n'
    }
    yield `\n${indent}}`
  } else yield JSON.stringify(value, null, 2).replaceAll('\n', `\n${indent}`)
}

const isLong = (value: unknown): boolean => Array.isArray(value) && value.length > 0

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
