/**
 * What the two files of the witness say (witness.ts).
 *
 *   COMMITTED   16 + 4 bytes: last durable tid, a tid from which on the chain is to be checked, CRC-32; or the word `accept`
 *   TABLES      CRC-32 in 8 hexadecimal digits, a space, and JSON in one line: `tables` (by name their size and CRC-32), `damaged` (names of files),
 *               `tid` (a transaction that was durable by then; 0 if none was, or an earlier version has written it)
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Tid } from '../ids.ts'
import { readUInt64 } from '../record.ts'
import { isThere } from './table-checks.ts'

export const COMMITTED = 'COMMITTED'
export const TABLES = 'TABLES'
/** What the user writes into COMMITTED to go on without what was lost. */
const ACCEPT = /^accept\s{0,2}$/

export interface Tables {
  readonly tables: Record<string, [size: number, checksum: number]>
  readonly damaged: string[]
  readonly tid: Tid
}

export interface Committed {
  readonly tid: Tid
  readonly checkpoint: Tid
}

export const isTable = (name: string): boolean => /^\d+\.ldb$/.test(name)

/** What is said of the tables of a directory. Where LevelDB has one and nothing is said, that is a damage itself. */
export function readTables(directory: string): Tables {
  const text = contentOf(join(directory, TABLES))?.toString()
  if (text === undefined && !isThere(join(directory, 'CURRENT'))) return { tables: {}, damaged: [], tid: 0 }
  return tablesSaid(text ?? '') ?? { tables: {}, damaged: [TABLES], tid: 0 }
}

/** What the content of TABLES says; undefined if it is damaged. */
export function tablesSaid(text: string): Tables | undefined {
  const content = text.slice(9, -1)
  if (crc32(content).toString(16).padStart(8, '0') !== text.slice(0, 8)) return undefined
  let found: Partial<Tables> | null
  try {
    found = JSON.parse(content)
  } catch {
    return undefined
  }
  const { tables, damaged, tid = 0 } = found ?? {}
  if (typeof tables !== 'object' || tables === null || !Array.isArray(damaged)) return undefined
  if (!Number.isSafeInteger(tid) || tid < 0) return undefined
  const entries = Object.entries(tables)
  const isEntry = ([name, entry]: [string, unknown]) =>
    isTable(name) && Array.isArray(entry) && entry.length === 2 && entry.every(Number.isSafeInteger)
  return entries.every(isEntry) && damaged.every(name => typeof name === 'string')
    ? { tables: Object.fromEntries(entries), damaged, tid }
    : undefined
}

export function textOf(tables: Tables): string {
  const content = JSON.stringify(tables)
  return `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`
}

/** What COMMITTED says; `unknown` if it is missing or damaged, `accepted` if the user goes on with what is there. */
export function readCommitted(directory: string): Committed | 'unknown' | 'accepted' {
  const path = join(directory, COMMITTED)
  const bytes = contentOf(path)
  // it is empty until the first transaction
  if (bytes === undefined || bytes.length === 0) return 'unknown'
  if (ACCEPT.test(bytes.toString('latin1'))) return 'accepted'
  const found = committedSaid(bytes)
  if (found === undefined)
    process.emitWarning(`${path} is damaged; it is made anew. Let verify check the database`, 'DatabaseWarning')
  return found ?? 'unknown'
}

/** What the content of COMMITTED says; undefined if it is damaged. */
export function committedSaid(bytes: Buffer): Committed | undefined {
  if (bytes.length !== 20 || crc32(bytes.subarray(0, 16)) !== bytes.readUInt32BE(16)) return undefined
  return { tid: readUInt64(bytes, 0), checkpoint: readUInt64(bytes, 8) }
}

export function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}
