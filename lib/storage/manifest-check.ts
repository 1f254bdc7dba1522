/**
 * Whether LevelDB can rely on a manifest (manifest.ts): it takes for granted what it says of tables and numbers, and ends the process, or
 * writes over files, where that is not so.
 */
import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import { recordsIn } from './log-file.ts'
import { aside } from './looking.ts'
import { bytesOf, type Edit, type Entry, nameOf, readEdit, type Text } from './manifest.ts'
import { compareKeys, shown, Unsound, writeOf } from './table-block.ts'

const COMPARATOR = 'leveldb.BytewiseComparator'
/** Bytes of a manifest: years of writing without a restart. */
const MOST = 256 * 1024 * 1024
/** Bytes of an edit: one that lists all tables of a database of a terabyte. */
const MOST_OF_EDIT = 64 * 1024 * 1024

/** Files and writes that LevelDB can still number, in a lifetime. */
export const MOST_NUMBER = 2 ** 52

/** What a manifest says. */
export interface Contents {
  readonly tables: readonly Entry[]
  /** Logs before that one are in tables. */
  readonly log: number
  readonly lastWrite: number
}

/**
 * @param number of the manifest
 * @throws {Unsound}
 */
export async function checkManifest(path: string, number: number): Promise<Contents> {
  const version = new Version()
  let parts: Buffer[] = []
  let length = 0
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { size } = fstatSync(file)
    if (size > MOST) throw new Unsound(`expected ${MOST} bytes at most, found ${size}`)
    const looking = recordsIn(size, (part, { begins, ends }) => {
      if (begins) {
        parts = []
        length = 0
      }
      length += part.length
      if (length > MOST_OF_EDIT)
        throw new Unsound(`expected an edit of ${MOST_OF_EDIT} bytes at most, found a longer one`)
      parts.push(part)
      if (ends) version.apply(readEdit(Buffer.concat(parts)))
    })
    await aside(file, looking)
  } finally {
    closeSync(file)
  }
  return version.checked(number)
}

class Version {
  private readonly live = new Map<number, Entry>()
  /** Levels and numbers of tables that have been added. */
  private readonly known = new Set<string>()
  private comparator: string | undefined
  private log: number | undefined
  private logBefore = 0
  private nextFile: number | undefined
  private lastWrite: number | undefined

  apply({ comparator, log, logBefore, nextFile, lastWrite, pointers, dropped, added }: Edit): void {
    this.comparator ??= comparator
    if (comparator !== undefined && comparator !== COMPARATOR)
      throw new Unsound(`expected the order ${COMPARATOR}, found another`)
    this.log = log ?? this.log
    this.logBefore = logBefore ?? this.logBefore
    this.nextFile = nextFile ?? this.nextFile
    this.lastWrite = lastWrite ?? this.lastWrite
    for (const { key } of pointers) writeOf(bytesOf(key))
    for (const { level, number } of dropped) {
      if (this.live.get(number)?.level !== level)
        throw new Unsound(`table ${nameOf(number)} is dropped from level ${level}, where it is not`)
      this.live.delete(number)
    }
    for (const entry of added) this.add(entry)
  }

  /** LevelDB never gives a number twice, and moves a table downwards only. It would take an old one for live again. */
  private add(entry: Entry): void {
    const { level, number, first, last } = entry
    const place = `${level} ${number}`
    if (this.known.has(place) || this.live.has(number))
      throw new Unsound(`table ${nameOf(number)} is added to level ${level} twice, or to two levels`)
    this.known.add(place)
    writeOf(bytesOf(first))
    writeOf(bytesOf(last))
    this.live.set(number, { ...entry, first: kept(first), last: kept(last) })
  }

  checked(number: number): Contents {
    const { log, nextFile, lastWrite } = this
    if (this.comparator === undefined || log === undefined || nextFile === undefined || lastWrite === undefined)
      throw new Unsound('expected an order, a log, a next file and a last write, found not all of them')
    if (Math.max(nextFile, lastWrite) > MOST_NUMBER)
      throw new Unsound(
        `expected a next file and a last write up to ${MOST_NUMBER}, found ${nextFile} and ${lastWrite}`,
      )
    if (this.logBefore !== 0) throw new Unsound(`expected no log before, found ${this.logBefore}`)
    const tables = [...this.live.values()]
    for (const taken of [number, log, ...tables.map(table => table.number)])
      if (taken >= nextFile) throw new Unsound(`expected a next file after ${taken}, which there is, found ${nextFile}`)
    if (this.live.has(0)) throw new Unsound('expected numbers of tables from 1 on, found 0')
    this.assertApart(tables)
    return { tables, log, lastWrite }
  }

  /** Only tables of the first level may have keys in common. */
  private assertApart(tables: readonly Entry[]): void {
    const sorted = tables
      .map(({ level, number, first, last }) => ({ level, number, first: bytesOf(first), last: bytesOf(last) }))
      .sort((a, b) => a.level - b.level || compareKeys(a.first, b.first))
    for (const [i, table] of sorted.entries()) {
      const before = sorted[i - 1]
      if (before === undefined || before.level !== table.level || table.level === 0) continue
      if (compareKeys(before.last, table.first) >= 0)
        throw new Unsound(
          `tables ${nameOf(before.number)} and ${nameOf(table.number)} of level ${table.level} overlap: one ends with ${shown(before.last)}, the other begins with ${shown(table.first)}`,
        )
    }
  }
}

/** Apart from the edit that it was in, which may be long. */
function kept(text: Text): Text {
  const source = Buffer.from(bytesOf(text))
  return { source, from: 0, to: source.length }
}
