/**
 * Which tables LevelDB merges as soon as it has opened a directory (db/version_set.cc: Finalize, PickCompaction, SetupOtherInputs). It does
 * not look whether they are sound: it ends the process where it meets keys in disorder.
 */
import { readdirSync, statSync } from 'node:fs'
import { LEVELS, type Listed, type Table } from './manifest.ts'

/** It merges the first level when that has so many tables, or another when it has more than 10, 100 ... MiB. */
const MERGED_FROM = 4
const MOST_BYTES = 10 * 1024 * 1024
const HALF_A_LOG = 2 * 1024 * 1024

/** Whether LevelDB, having a directory open, is merging tables of it, or is about to. */
export function isMerging({ levels }: Listed): boolean {
  const level = mostCrowded(levels)
  return levels[0]!.length >= MERGED_FROM || (level !== undefined && fullnessOf(levels, level) >= 1)
}

/** @returns the tables that the first merge may read: those of which LevelDB reads more; none if it merges none */
export function mergedAtOpening(directory: string, { levels, mergedTo }: Listed): readonly Table[] {
  const first = levels[0]!.length
  const logs = tablesOfLogs(directory)
  const level = mostCrowded(levels)
  const fullness = level === undefined ? 0 : fullnessOf(levels, level)
  const merged = new Set<Table>()
  // the number of tables that the logs become is not known exactly; where they lie is not known at all
  if ((first + logs) / MERGED_FROM >= Math.max(1, fullness))
    for (const table of [...levels[0]!, ...levels[1]!]) merged.add(table)
  if (level !== undefined && fullness >= 1 && fullness > first / MERGED_FROM)
    for (const table of inputs(levels[level]!, levels[level + 1]!, mergedTo[level])) merged.add(table)
  return [...merged]
}

/** Each log becomes a table of the first level, or more where it is long. */
function tablesOfLogs(directory: string): number {
  let tables = 0
  for (const name of readdirSync(directory)) {
    if (!name.endsWith('.log')) continue
    // whoever has the directory open may have removed it
    const found = statSync(`${directory}/${name}`, { throwIfNoEntry: false })
    tables += Math.ceil((found?.size ?? 0) / HALF_A_LOG)
  }
  return tables
}

/** The level, but the first and the last, that is merged first if one is. */
function mostCrowded(levels: Listed['levels']): number | undefined {
  let most: number | undefined
  for (let level = 1; level < LEVELS - 1; level++)
    if (most === undefined || fullnessOf(levels, level) > fullnessOf(levels, most)) most = level
  return most
}

const fullnessOf = (levels: Listed['levels'], level: number): number =>
  sizeOf(levels[level]!) / (MOST_BYTES * 10 ** (level - 1))

const sizeOf = (tables: readonly Table[]): number => tables.reduce((sum, { bytes }) => sum + bytes, 0)

/** What is merged of a level and the next one: the first table beyond what was merged last, and what overlaps with it. */
function inputs(upper: readonly Table[], lower: readonly Table[], mergedTo: Buffer | undefined): readonly Table[] {
  const beyond = upper.find(({ last }) => mergedTo === undefined || Buffer.compare(last, mergedTo) > 0) ?? upper[0]
  // of a key that was written several times a part may be in either of two tables
  const next = upper.find(({ last }) => mergedTo !== undefined && Buffer.compare(last, mergedTo) === 0)
  return [beyond, next].flatMap(chosen => {
    if (chosen === undefined) return []
    const own = overlapping(upper, [chosen])
    const others = overlapping(lower, own)
    // more of the upper level, where it makes no difference to the lower one
    const more = overlapping(upper, [...own, ...others])
    return overlapping(lower, more).length === others.length ? [...more, ...others] : [...own, ...others]
  })
}

/** The tables of a level that overlap with others, those included that begin with the last key of one that does. */
function overlapping(level: readonly Table[], others: readonly Table[]): readonly Table[] {
  if (others.length === 0) return []
  let first = others[0]!.first
  let last = others[0]!.last
  for (const other of others) {
    if (Buffer.compare(other.first, first) < 0) first = other.first
    if (Buffer.compare(other.last, last) > 0) last = other.last
  }
  const found: Table[] = []
  for (const table of level) {
    if (Buffer.compare(table.last, first) < 0 || Buffer.compare(table.first, last) > 0) continue
    found.push(table)
    if (Buffer.compare(table.last, last) > 0) last = table.last
  }
  return found
}
