/**
 * Which table files LevelDB's current version consists of. Other files may be unfinished, and their numbers may be used again; these are
 * written whole, never change, and their numbers belong to them.
 *
 * CURRENT names the manifest, a log of version edits (LevelDB's log_format.md and version_edit.cc): blocks of 32 KiB; records of
 * checksum (4), length (2), type (1: whole, 2 first, 3 middle, 4 last part), content. Only what is needed of the edits is understood.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

const BLOCK = 32 * 1024
const HEADER = 7
/** LevelDB has so many levels. */
const LEVELS = 7
/** It merges the first level when that has so many tables, or another when it has more than 10, 100 ... MiB. */
const MERGED_FROM = 4
const HALF_A_LOG = 2 * 1024 * 1024

/** @returns the names of the table files; undefined if the manifest cannot be understood */
export function liveTables(directory: string): Set<string> | undefined {
  return listedTables(directory)?.live
}

export interface Listed {
  readonly live: Set<string>
  /** Those that the manifest has dropped. */
  readonly dropped: Set<string>
  /** How many live tables each level has, and how many bytes they have. */
  readonly levels: readonly { readonly tables: number; readonly bytes: number }[]
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
  const live = new Map<number, Table>()
  const dropped = new Set<number>()
  for (const edit of records(manifest)) applyEdit(edit, live, dropped)
  const levels = Array.from({ length: LEVELS }, () => ({ tables: 0, bytes: 0 }))
  for (const { level, bytes } of live.values()) {
    levels[level]!.tables += 1
    levels[level]!.bytes += bytes
  }
  return { live: names(live.keys()), dropped: names(dropped), levels }
}

/**
 * Whether LevelDB may begin to merge tables as soon as it has opened the directory (db/version_set.cc: Finalize). Each log becomes a table
 * of the first level, or more where it is long.
 */
export function mergesAtOpening(directory: string, { levels }: Listed): boolean {
  let first = levels[0]!.tables
  // whoever has the directory open may have removed it
  for (const name of readdirSync(directory))
    if (name.endsWith('.log'))
      first += Math.ceil((statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0) / HALF_A_LOG)
  return first >= MERGED_FROM || levels.some(({ bytes }, level) => level > 0 && bytes >= 10 ** level * 1024 * 1024)
}

interface Table {
  readonly level: number
  readonly bytes: number
}

const names = (numbers: Iterable<number>): Set<string> =>
  new Set(Array.from(numbers, number => `${String(number).padStart(6, '0')}.ldb`))

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

function applyEdit(edit: Buffer, live: Map<number, Table>, dropped: Set<number>): void {
  let at = 0
  const drop = (table: number) => {
    live.delete(table)
    dropped.add(table)
  }
  const number = (): number => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = edit[at++]
      if (byte === undefined) throw new Error('the edit ends within a number')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  const text = () => {
    const length = number()
    at += length
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
        number()
        text()
        break
      case 6:
        number()
        drop(number())
        break
      case 7: {
        const level = number()
        if (level >= LEVELS) throw new Error(`unknown edit: a table of level ${level}`)
        live.set(number(), { level, bytes: number() })
        text()
        text()
        break
      }
      default:
        throw new Error(`unknown edit ${tag}`)
    }
  }
}
