/**
 * Which table files LevelDB's current version consists of. Other files may be unfinished, and their numbers may be used again; these are
 * written whole, never change, and their numbers belong to them.
 *
 * CURRENT names the manifest, a log of version edits (LevelDB's log_format.md and version_edit.cc): blocks of 32 KiB; records of
 * checksum (4), length (2), type (1: whole, 2 first, 3 middle, 4 last part), content. Only what is needed of the edits is understood.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const BLOCK = 32 * 1024
const HEADER = 7
/** LevelDB has so many levels. */
export const LEVELS = 7
/** A key ends with the number of its write and its kind. */
const TRAILER = 8

/** @returns the names of the table files; undefined if the manifest cannot be understood */
export function liveTables(directory: string): Set<string> | undefined {
  return listedTables(directory)?.live
}

export interface Listed {
  readonly live: Set<string>
  /** Those that the manifest has dropped. */
  readonly dropped: Set<string>
  /** The live tables of each level, in the order of their first keys. */
  readonly levels: readonly (readonly Table[])[]
  /** Up to which key each level was merged last. */
  readonly mergedTo: readonly (Buffer | undefined)[]
}

/** A live table, and its first and last key. */
export interface Table {
  readonly name: string
  readonly level: number
  readonly bytes: number
  readonly first: Buffer
  readonly last: Buffer
}

/** @returns undefined if the manifest cannot be understood */
export function listedTables(directory: string): Listed | undefined {
  try {
    const manifest = readFileSync(join(directory, 'CURRENT'), 'utf8').trim()
    if (!/^MANIFEST-\d+$/.test(manifest)) return undefined
    return tablesIn(readFileSync(join(directory, manifest)))
  } catch {
    return undefined
  }
}

/** What the bytes of a manifest say. Throws if they cannot be understood. */
export function tablesIn(manifest: Buffer): Listed {
  const live = new Map<string, Table>()
  const dropped = new Set<string>()
  const mergedTo: (Buffer | undefined)[] = new Array(LEVELS).fill(undefined)
  for (const edit of records(manifest)) applyEdit(edit, live, dropped, mergedTo)
  const levels: Table[][] = Array.from({ length: LEVELS }, () => [])
  for (const table of live.values()) levels[table.level]!.push(table)
  for (const tables of levels) tables.sort((a, b) => Buffer.compare(a.first, b.first))
  return { live: new Set(live.keys()), dropped, levels, mergedTo }
}

const nameOf = (number: number): string => `${String(number).padStart(6, '0')}.ldb`

/** The complete records of a log. */
function* records(log: Buffer): Generator<Buffer> {
  let parts: Buffer[] = []
  let at = 0
  while (at + HEADER <= log.length) {
    const left = BLOCK - (at % BLOCK)
    if (left < HEADER) {
      at += left
      continue
    }
    const length = log.readUInt16LE(at + 4)
    const type = log[at + 6]!
    const content = log.subarray(at + HEADER, at + HEADER + length)
    if (type === 0 || content.length < length) return
    at += HEADER + length
    if (type === 1 || type === 2) parts = []
    parts.push(content)
    if (type === 1 || type === 4) yield Buffer.concat(parts)
  }
}

function applyEdit(
  edit: Buffer,
  live: Map<string, Table>,
  dropped: Set<string>,
  mergedTo: (Buffer | undefined)[],
): void {
  let at = 0
  const number = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = edit[at++]
      if (byte === undefined) throw new Error('the edit ends within a number')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  const text = (): Buffer => {
    const length = number()
    at += length
    return edit.subarray(at - length, at)
  }
  const key = (): Buffer => text().subarray(0, -TRAILER)
  const level = (): number => {
    const value = number()
    if (value >= LEVELS) throw new Error(`unknown edit: a table of level ${value}`)
    return value
  }
  while (at < edit.length) {
    const tag = number()
    switch (tag) {
      case 1:
        text()
        break
      case 2:
      case 3:
      case 4:
      case 9:
        number()
        break
      case 5:
        mergedTo[level()] = key()
        break
      case 6: {
        number()
        const name = nameOf(number())
        live.delete(name)
        dropped.add(name)
        break
      }
      case 7: {
        const of = level()
        const name = nameOf(number())
        live.set(name, { name, level: of, bytes: number(), first: key(), last: key() })
        break
      }
      default:
        throw new Error(`unknown edit ${tag}`)
    }
  }
}
