/**
 * What would not come back of binary values: whatever is beside their bytes. What is read anew is a view of bytes of its own, of fixed length.
 * So two views of the same bytes, of which each sees what is written through the other, are refused; views of different parts of
 * one buffer are not, since small Buffers share one without anybody having asked for it.
 */
import { isArrayBuffer } from 'node:util/types'
import { hasNames } from './pickle-properties.ts'

export type Binary = ArrayBuffer | ArrayBufferView

/** Whether a value holds bytes. */
export const isBinary = (value: object): value is Binary => ArrayBuffer.isView(value) || isArrayBuffer(value)

/** What is beside the bytes of a value; undefined if nothing is. */
export function besideBytes(value: Binary): string | undefined {
  const { name } = Object.getPrototypeOf(value).constructor as { name: string }
  const what = `${/^[AI]/.test(name) ? 'an' : 'a'} ${name}`
  const buffer = value instanceof ArrayBuffer ? value : value.buffer
  if (!(buffer instanceof ArrayBuffer)) return `${what} over memory that threads share`
  if ((buffer as { resizable?: boolean }).resizable) return `${what} whose length may change`
  if (buffer.byteLength === 0 && isDetached(buffer)) return `${what} whose bytes were given away`
  return hasProperties(value) ? `${what} with properties of its own` : undefined
}

function hasProperties(value: Binary): boolean {
  if (Object.getOwnPropertySymbols(value).length > 0) return true
  if (value instanceof ArrayBuffer || value instanceof DataView) return Object.getOwnPropertyNames(value).length > 0
  return hasNames(value as Uint8Array)
}

function isDetached(buffer: ArrayBuffer): boolean {
  try {
    new Uint8Array(buffer)
    return false
  } catch {
    return true
  }
}

/** The binary values of one state. */
export class Views<Place> {
  private first: [Binary, Place] | undefined
  private others: [Binary, Place][] = []

  add(value: Binary, place: Place): void {
    if (this.first === undefined) this.first = [value, place]
    else this.others.push([value, place])
  }

  /** @returns where one is that has bytes in common with another */
  overlapping(): Place | undefined {
    if (this.first === undefined || this.others.length === 0) return undefined
    const spans = new Map<unknown, { start: number; end: number; place: Place }[]>()
    for (const [value, place] of [this.first, ...this.others]) {
      const [buffer, start] = value instanceof ArrayBuffer ? [value, 0] : [value.buffer, value.byteOffset]
      if (value.byteLength === 0) continue
      const known = spans.get(buffer)
      const span = { start, end: start + value.byteLength, place }
      if (known === undefined) spans.set(buffer, [span])
      else known.push(span)
    }
    for (const each of spans.values()) {
      each.sort((a, b) => a.start - b.start)
      const second = each.find(({ start }, i) => i > 0 && start < each[i - 1]!.end)
      if (second !== undefined) return second.place
    }
    return undefined
  }

  clear(): void {
    this.first = undefined
    if (this.others.length > 0) this.others = []
  }
}
