/**
 * Which table files LevelDB's current version consists of. Other files may be unfinished, and their numbers may be used again; these are
 * written whole, never change, and their numbers belong to them.
 *
 * CURRENT names the manifest, a log of version edits (LevelDB's log_format.md and version_edit.cc): blocks of 32 KiB; records of
 * checksum (4), length (2), type (1: whole, 2 first, 3 middle, 4 last part), content. Nothing is checked here: LevelDB itself does, and what
 * one does not trust manifest-check.ts looks through before.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { KEY_TRAILER, Reader, Unsound } from './table-block.ts'

const BLOCK = 32 * 1024
const HEADER = 7
/** LevelDB has so many levels. */
export const LEVELS = 7

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
  /** What logs before that one had is in tables; 0 if there was none. */
  readonly log: number
  /** The number that the next opening gives its manifest. */
  readonly nextFile: number
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
    const manifest = manifestOf(directory)
    return manifest === undefined ? undefined : tablesIn(readFileSync(join(directory, manifest)))
  } catch {
    return undefined
  }
}

/** The manifest's name; undefined if there is none. */
export function manifestOf(directory: string): string | undefined {
  try {
    const name = readFileSync(join(directory, 'CURRENT'), 'utf8').trim()
    return /^MANIFEST-\d+$/.test(name) ? name : undefined
  } catch {
    return undefined
  }
}

/** What the bytes of a manifest say. Throws if they cannot be understood. */
export function tablesIn(manifest: Buffer): Listed {
  const version: Version = {
    live: new Map(),
    dropped: new Set(),
    mergedTo: new Array(LEVELS).fill(undefined),
    log: 0,
    nextFile: 0,
  }
  for (const edit of records(manifest)) applyEdit(readEdit(edit), version)
  const live = new Set<string>()
  const levels: Table[][] = Array.from({ length: LEVELS }, () => [])
  for (const { number, level, bytes, first, last } of version.live.values()) {
    const name = nameOf(number)
    live.add(name)
    levels[level]!.push({ name, level, bytes, first: keyAt(first), last: keyAt(last) })
  }
  for (const tables of levels) tables.sort((a, b) => Buffer.compare(a.first, b.first))
  const { dropped, mergedTo, log, nextFile } = version
  return {
    live,
    levels,
    mergedTo,
    log,
    nextFile,
    get dropped() {
      return new Set(Array.from(dropped, number => nameOf(number)))
    },
  }
}

/** What the edits so far have made; tables by their number. Most of what they say is said of tables that live no more, so it is taken apart at the end. */
interface Version {
  readonly live: Map<number, Entry>
  readonly dropped: Set<number>
  readonly mergedTo: (Buffer | undefined)[]
  log: number
  nextFile: number
}

/** A table that an edit adds. */
export interface Entry {
  readonly number: number
  readonly level: number
  readonly bytes: number
  readonly first: Text
  readonly last: Text
}

export interface Text {
  readonly source: Buffer
  readonly from: number
  readonly to: number
}

export const nameOf = (number: number, extension = 'ldb'): string => `${String(number).padStart(6, '0')}.${extension}`

export const bytesOf = ({ source, from, to }: Text): Buffer => source.subarray(from, to)
const keyAt = ({ source, from, to }: Text): Buffer => source.subarray(from, Math.max(from, to - KEY_TRAILER))

/** The logs in a directory of which LevelDB has not made tables yet, in order. @param first the number of the first one */
export function logsFrom(directory: string, first: number): string[] {
  const numbers = readdirSync(directory)
    .filter(name => /^\d+\.log$/.test(name))
    .map(name => Number.parseInt(name, 10))
  return numbers
    .filter(number => number >= first)
    .sort((a, b) => a - b)
    .map(number => nameOf(number, 'log'))
}

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

/** What a version edit says. */
export interface Edit {
  comparator?: string
  /** Logs before that one are in tables. */
  log?: number
  logBefore?: number
  nextFile?: number
  lastWrite?: number
  readonly pointers: { readonly level: number; readonly key: Text }[]
  readonly dropped: { readonly level: number; readonly number: number }[]
  readonly added: Entry[]
}

/** @throws {Unsound} if it cannot be understood */
export function readEdit(bytes: Buffer): Edit {
  const reader = new Reader(bytes)
  const text = (): Text => {
    const length = reader.number()
    reader.take(length)
    return { source: bytes, from: reader.position - length, to: reader.position }
  }
  const level = (): number => {
    const value = reader.number()
    if (value >= LEVELS) throw new Unsound(`expected a level below ${LEVELS}, found ${value}`)
    return value
  }
  const edit: Edit = { pointers: [], dropped: [], added: [] }
  while (!reader.ended) {
    const tag = reader.number()
    switch (tag) {
      case 1:
        edit.comparator = bytesOf(text()).toString('latin1')
        break
      case 2:
        edit.log = reader.number()
        break
      case 3:
        edit.nextFile = reader.number()
        break
      case 4:
        edit.lastWrite = reader.number()
        break
      case 5:
        edit.pointers.push({ level: level(), key: text() })
        break
      case 6:
        edit.dropped.push({ level: level(), number: reader.number() })
        break
      case 7:
        edit.added.push({
          level: level(),
          number: reader.number(),
          bytes: reader.number(),
          first: text(),
          last: text(),
        })
        break
      case 9:
        edit.logBefore = reader.number()
        break
      default:
        throw new Unsound(`expected an edit of kind 1 to 7 or 9, found ${tag}`)
    }
  }
  return edit
}

/** LevelDB drops first, and then adds. */
function applyEdit({ log, nextFile, pointers, dropped, added }: Edit, version: Version): void {
  version.log = log ?? version.log
  version.nextFile = nextFile ?? version.nextFile
  for (const { level, key } of pointers) version.mergedTo[level] = keyAt(key)
  for (const { number } of dropped) {
    version.live.delete(number)
    version.dropped.add(number)
  }
  for (const entry of added) version.live.set(entry.number, entry)
}
