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

/** @returns the names of the table files; undefined if the manifest cannot be understood */
export function liveTables(directory: string): Set<string> | undefined {
  return listedTables(directory)?.live
}

/** @returns the live table files, and those that the manifest has dropped; undefined if it cannot be understood */
export function listedTables(directory: string): { live: Set<string>; dropped: Set<string> } | undefined {
  try {
    const manifest = readFileSync(join(directory, 'CURRENT'), 'utf8').trim()
    if (!/^MANIFEST-\d+$/.test(manifest)) return undefined
    return tablesIn(readFileSync(join(directory, manifest)))
  } catch {
    return undefined
  }
}

/** What the bytes of a manifest say. Throws if they cannot be understood. */
export function tablesIn(manifest: Buffer): { live: Set<string>; dropped: Set<string> } {
  const live = new Set<number>()
  const dropped = new Set<number>()
  for (const edit of records(manifest)) applyEdit(edit, live, dropped)
  return { live: names(live), dropped: names(dropped) }
}

const names = (numbers: ReadonlySet<number>): Set<string> =>
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

function applyEdit(edit: Buffer, live: Set<number>, dropped: Set<number>): void {
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
      case 7:
        number()
        live.add(number())
        number()
        text()
        text()
        break
      default:
        throw new Error(`unknown edit ${tag}`)
    }
  }
}
