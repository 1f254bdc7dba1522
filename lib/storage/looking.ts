/** Reading a file a part at a time, by code that works at once and aside alike: it asks for parts, and is to be given them. */
import { read, readSync } from 'node:fs'
import { promisify } from 'node:util'

const readAt = promisify(read)

export interface Part {
  readonly offset: number
  readonly size: number
}

export type Looking<T> = Generator<Part, T, Buffer>

/** Where the file ends early, what is given is shorter than what was asked for. */
export function atOnce<T>(file: number, looking: Looking<T>): T {
  let step = looking.next()
  while (!step.done) {
    const bytes = Buffer.allocUnsafe(step.value.size)
    step = looking.next(bytes.subarray(0, readSync(file, bytes, 0, bytes.length, step.value.offset)))
  }
  return step.value
}

/** The same without holding anyone up. @returns undefined if `ended` turns true meanwhile */
export async function aside<T>(file: number, looking: Looking<T>, ended = () => false): Promise<T | undefined> {
  let step = looking.next()
  while (!step.done) {
    const { offset, size }: Part = step.value
    const { buffer, bytesRead } = await readAt(file, Buffer.allocUnsafe(size), 0, size, offset)
    if (ended()) return undefined
    step = looking.next(buffer.subarray(0, bytesRead))
  }
  return step.value
}
