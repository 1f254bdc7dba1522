/**
 * Comparing LevelDB's tables with the checksums that they had; one whose checksum is not known, since the process was killed before it took it,
 * with those that LevelDB has put into it. A table that is still to be compared is held open: LevelDB may replace it
 * by another that has its damage, and delete it.
 */
import { closeSync, fstatSync, openSync, read, readSync, statSync } from 'node:fs'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { aside, atOnce } from './looking.ts'
import { lookInto } from './table-file.ts'

const readAt = promisify(read)
const CHUNK = 128 * 1024
/** What is read at once lands here: fresh memory for each table would take as long as comparing it. */
let chunkAtOnce: Buffer | undefined

interface Held {
  readonly file: number
  readonly size: number
  readonly expected: number | undefined
}

export class TableChecks {
  /** By name. */
  private readonly held = new Map<string, Held>()
  private readonly compared = new Set<string>()

  get names(): string[] {
    return [...this.held.keys()]
  }

  /**
   * Holds a table that is to be compared, unless it has been. One that is gone LevelDB itself misses, if it needs it.
   * @returns whether its size is right
   */
  hold(name: string, path: string, size: number, expected: number | undefined): boolean {
    if (this.held.has(name) || this.compared.has(name)) return true
    let file: number
    try {
      file = openSync(path, 'r')
    } catch {
      return true
    }
    if (fstatSync(file).size !== size) {
      closeSync(file)
      return false
    }
    this.held.set(name, { file, size, expected })
    return true
  }

  /**
   * Compares the newest table at once, and others as long as all have no more than that many bytes.
   * @param known whether those whose checksum is known, or those whose is not
   * @returns those that are not as they were, and the bytes of all
   */
  newest(bytes: number, known: boolean): { damaged: readonly string[]; seen: number } {
    const damaged: string[] = []
    let seen = 0
    for (const name of this.names.sort().reverse()) {
      const { size, expected } = this.held.get(name)!
      if ((expected !== undefined) !== known) continue
      if (seen > 0 && seen + size > bytes) break
      seen += size
      if (!this.compare(name)) damaged.push(name)
    }
    return { damaged, seen }
  }

  /** Compares a table at once. @returns whether it is as it was */
  compare(name: string): boolean {
    const { file, size, expected } = this.held.get(name)!
    try {
      return expected === undefined
        ? atOnce(file, lookInto(size, false)).damage === undefined
        : checksumOf(file) === expected
    } catch {
      // what cannot be read is not as it was
      return false
    } finally {
      this.compared.add(name)
      this.drop(name)
    }
  }

  /** Compares a table without holding anyone up. @returns whether it is as it was; undefined if `ended` turns true meanwhile */
  async compareAside(name: string, ended: () => boolean): Promise<boolean | undefined> {
    const { file, size, expected } = this.held.get(name)!
    const same = expected === undefined ? soundAside(file, size, ended) : sameAside(file, expected, ended)
    // what cannot be read is not as it was
    const found = await same.catch(() => false)
    if (found === undefined || ended()) return undefined
    this.drop(name)
    return found
  }

  drop(name: string): void {
    closeSync(this.held.get(name)!.file)
    this.held.delete(name)
  }

  end(): void {
    for (const name of this.names) this.drop(name)
  }
}

/** The size and the checksum of a file; undefined if it is gone, or `ended` turns true meanwhile. */
export async function fingerprintAside(
  path: string,
  ended: () => boolean,
): Promise<[size: number, checksum: number] | undefined> {
  const file = openIfThere(path)
  if (file === undefined) return undefined
  try {
    const checksum = await checksumAside(file, ended)
    return checksum === undefined ? undefined : [fstatSync(file).size, checksum]
  } finally {
    closeSync(file)
  }
}

/** The size and the checksum of a file; undefined if it is gone. */
export function fingerprint(path: string): [size: number, checksum: number] | undefined {
  const file = openIfThere(path)
  if (file === undefined) return undefined
  try {
    return [fstatSync(file).size, checksumOf(file)]
  } finally {
    closeSync(file)
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
}

export const isThere = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined

/** @returns whether a table is sound by what is in it; undefined if `ended` turns true meanwhile */
async function soundAside(file: number, size: number, ended: () => boolean): Promise<boolean | undefined> {
  const looked = await aside(file, lookInto(size, false), ended)
  return looked && looked.damage === undefined
}

async function sameAside(file: number, expected: number, ended: () => boolean): Promise<boolean | undefined> {
  const checksum = await checksumAside(file, ended)
  return checksum === undefined ? undefined : checksum === expected
}

function checksumOf(file: number): number {
  chunkAtOnce ??= Buffer.allocUnsafeSlow(CHUNK)
  const chunk = chunkAtOnce
  let checksum = 0
  let at = 0
  for (let n = readSync(file, chunk, 0, CHUNK, at); n > 0; n = readSync(file, chunk, 0, CHUNK, at)) {
    checksum = crc32(chunk.subarray(0, n), checksum)
    at += n
  }
  return checksum
}

async function checksumAside(file: number, ended: () => boolean): Promise<number | undefined> {
  const chunk = Buffer.allocUnsafe(CHUNK)
  let checksum = 0
  for (let at = 0; ; ) {
    const { bytesRead } = await readAt(file, chunk, 0, CHUNK, at)
    if (ended()) return undefined
    if (bytesRead === 0) return checksum
    checksum = crc32(chunk.subarray(0, bytesRead), checksum)
    at += bytesRead
  }
}
