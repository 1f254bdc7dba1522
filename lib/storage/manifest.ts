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
  const version: Version = { live: new Map(), dropped: new Set(), mergedTo: new Array(LEVELS).fill(undefined) }
  for (const edit of records(manifest)) applyEdit(edit, version)
  const live = new Set<string>()
  const levels: Table[][] = Array.from({ length: LEVELS }, () => [])
  for (const { number, level, bytes, first, last } of version.live.values()) {
    const name = nameOf(number)
    live.add(name)
    levels[level]!.push({ name, level, bytes, first: keyAt(first), last: keyAt(last) })
  }
  for (const tables of levels) tables.sort((a, b) => Buffer.compare(a.first, b.first))
  const { dropped, mergedTo } = version
  return {
    live,
    levels,
    mergedTo,
    get dropped() {
      return new Set(Array.from(dropped, nameOf))
    },
  }
}

/** What the edits so far have made; tables by their number. Most of what they say is said of tables that live no more, so it is taken apart at the end. */
interface Version {
  readonly live: Map<number, Entry>
  readonly dropped: Set<number>
  readonly mergedTo: (Buffer | undefined)[]
}

interface Entry {
  readonly number: number
  readonly level: number
  readonly bytes: number
  readonly first: Text
  readonly last: Text
}

interface Text {
  readonly source: Buffer
  readonly from: number
  readonly to: number
}

const nameOf = (number: number): string => `${String(number).padStart(6, '0')}.ldb`

const keyAt = ({ source, from, to }: Text): Buffer => source.subarray(from, Math.max(from, to - TRAILER))

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
    const length = log[at + 4]! | (log[at + 5]! << 8)
    const type = log[at + 6]!
    const content = log.subarray(at + HEADER, at + HEADER + length)
    if (type === 0 || content.length < length) return
    at += HEADER + length
    if (type === 1 || type === 2) parts = []
    if (type === 1) yield content
    else parts.push(content)
    if (type === 4) yield Buffer.concat(parts)
  }
}

/** Reads what an edit consists of, one after the other. */
class EditReader {
  at = 0
  private readonly edit: Buffer

  constructor(edit: Buffer) {
    this.edit = edit
  }

  get ended(): boolean {
    return this.at >= this.edit.length
  }

  number(): number {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = this.edit[this.at++]
      if (byte === undefined) throw new Error('the edit ends within a number')
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }

  level(): number {
    const value = this.number()
    if (value >= LEVELS) throw new Error(`unknown edit: a table of level ${value}`)
    return value
  }

  text(): Text {
    const length = this.number()
    const from = this.at
    this.at += length
    return { source: this.edit, from, to: this.at }
  }
}

function applyEdit(edit: Buffer, { live, dropped, mergedTo }: Version): void {
  const reader = new EditReader(edit)
  while (!reader.ended) {
    const tag = reader.number()
    switch (tag) {
      case 1:
        reader.text()
        break
      case 2:
      case 3:
      case 4:
      case 9:
        reader.number()
        break
      case 5:
        mergedTo[reader.level()] = keyAt(reader.text())
        break
      case 6: {
        reader.number()
        const number = reader.number()
        live.delete(number)
        dropped.add(number)
        break
      }
      case 7: {
        const level = reader.level()
        const number = reader.number()
        live.set(number, { level, number, bytes: reader.number(), first: reader.text(), last: reader.text() })
        break
      }
      default:
        throw new Error(`unknown edit ${tag}`)
    }
  }
}
