/**
 * Writes LevelDB's files (its doc/table_format.md and log_format.md) with right checksums, LevelDB's and ours, and with whatever in them a
 * test wants: what somebody would make up who wants to do harm.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import { crc32c } from '../../lib/storage/crc32c.ts'

export type Row = [key: Buffer, value: Buffer]

export interface TableSpec {
  level: number
  number: number
  /** Internal keys: with the number of the write and the kind. */
  rows: Row[]
  /** How many rows a block has. */
  rowsOfBlock?: number
  /** Changes a block before it gets its checksum; the last ones are the filters' (none), that of names, and the list. */
  change?: (block: Buffer, number: number, isList: boolean) => Buffer
  /** Changes the order or the content of the list's entries. */
  list?: (entries: Row[]) => Row[]
  /** What the manifest says, where it lies. */
  said?: { size?: number; first?: Buffer; last?: Buffer }
  /** What stands in the place of the first block, as if it were compressed. */
  compressed?: Buffer
  /** Whether it is not written. */
  missing?: boolean
}

export interface DirectorySpec {
  tables: TableSpec[]
  comparator: string
  logNumber: number
  prevLogNumber: number
  nextFile: number
  lastSequence: bigint
  /** Put behind all other edits. */
  edits: Buffer[]
  /** By the names of their files. */
  logs: Map<string, Buffer[]>
}

export function varint(number: number | bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt(number)
  for (; rest > 127n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128)
  bytes.push(Number(rest))
  return Buffer.from(bytes)
}

const counted = (bytes: Buffer): Buffer => Buffer.concat([varint(bytes.length), bytes])

const checksumOf = (bytes: Buffer): Buffer => {
  const checksum = crc32c(bytes)
  const masked = Buffer.alloc(4)
  masked.writeUInt32LE((((checksum >>> 15) | (checksum << 17)) + 0xa282ead8) >>> 0)
  return masked
}

export function internalKey(key: Buffer, sequence: bigint, kind = 1): Buffer {
  const end = Buffer.alloc(8)
  end.writeBigUInt64LE(((sequence << 8n) | BigInt(kind)) & 0xffffffffffffffffn)
  return Buffer.concat([key, end])
}

/** A block of a table, without type and checksum. */
export function blockOf(rows: readonly Row[], interval = 16): Buffer {
  const parts: Buffer[] = []
  const starts: number[] = []
  let length = 0
  let before: Buffer = Buffer.alloc(0)
  for (const [i, [key, value]] of rows.entries()) {
    let shared = 0
    if (i % interval === 0) starts.push(length)
    else while (shared < key.length && shared < before.length && key[shared] === before[shared]) shared += 1
    const part = Buffer.concat([
      varint(shared),
      varint(key.length - shared),
      varint(value.length),
      key.subarray(shared),
      value,
    ])
    parts.push(part)
    length += part.length
    before = key
  }
  if (starts.length === 0) starts.push(0)
  const end = Buffer.alloc(4 * starts.length + 4)
  for (const [i, start] of [...starts, starts.length].entries()) end.writeUInt32LE(start, 4 * i)
  return Buffer.concat([...parts, end])
}

export function tableOf(table: TableSpec): Buffer {
  const { rows, rowsOfBlock = 20, change = block => block, list = entries => entries, compressed } = table
  const parts: Buffer[] = []
  let length = 0
  let number = 0
  const add = (block: Buffer, isList = false): Buffer => {
    const content: Buffer =
      length === 0 && compressed !== undefined
        ? Buffer.concat([compressed, Buffer.of(1)])
        : Buffer.concat([change(block, number, isList), Buffer.of(0)])
    number += 1
    const handle = Buffer.concat([varint(length), varint(content.length - 1)])
    parts.push(content, checksumOf(content))
    length += content.length + 4
    return handle
  }
  const entries: Row[] = []
  for (let at = 0; at < rows.length; at += rowsOfBlock) {
    const some = rows.slice(at, at + rowsOfBlock)
    entries.push([some.at(-1)![0], add(blockOf(some))])
  }
  const handles = Buffer.concat([add(blockOf([])), add(blockOf(list(entries), 1), true)])
  const footer = Buffer.alloc(48)
  handles.copy(footer)
  footer.writeBigUInt64LE(0xdb4775248b80fb57n, 40)
  return Buffer.concat([...parts, footer])
}

/** The records of a log, or a manifest. */
export function logOf(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (const record of records) {
    let from = 0
    do {
      let left = 32768 - (at % 32768)
      if (left < 7) {
        parts.push(Buffer.alloc(left))
        at += left
        left = 32768
      }
      const to = Math.min(record.length, from + left - 7)
      const type = from === 0 ? (to === record.length ? 1 : 2) : to === record.length ? 4 : 3
      const content = Buffer.concat([Buffer.of(type), record.subarray(from, to)])
      const length = Buffer.alloc(2)
      length.writeUInt16LE(to - from)
      parts.push(checksumOf(content), length, content)
      at += 7 + to - from
      from = to
    } while (from < record.length)
  }
  return Buffer.concat(parts)
}

/** A batch as a log has it; a row without a value is deleted. */
export function batchOf(
  sequence: bigint,
  rows: readonly (readonly [Buffer, Buffer | undefined])[],
  count = rows.length,
): Buffer {
  const head = Buffer.alloc(12)
  head.writeBigUInt64LE(sequence & 0xffffffffffffffffn)
  head.writeUInt32LE(count >>> 0, 8)
  return Buffer.concat([
    head,
    ...rows.map(([key, value]) =>
      Buffer.concat(value === undefined ? [Buffer.of(0), counted(key)] : [Buffer.of(1), counted(key), counted(value)]),
    ),
  ])
}

export const addEdit = (level: number, number: number, size: number | bigint, first: Buffer, last: Buffer): Buffer =>
  Buffer.concat([varint(7), varint(level), varint(number), varint(size), counted(first), counted(last)])

export const dropEdit = (level: number, number: number): Buffer =>
  Buffer.concat([varint(6), varint(level), varint(number)])

export const pointerEdit = (level: number, key: Buffer): Buffer =>
  Buffer.concat([varint(5), varint(level), counted(key)])

const nameOf = (number: number, extension = 'ldb') => `${String(number).padStart(6, '0')}.${extension}`

/** All rows of a database that nobody has open. */
export async function rowsOf(directory: string): Promise<Row[]> {
  const level = new Level<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const rows = await level.iterator().all()
  await level.close()
  return rows
}

/** A sound directory of these rows, in a table of level 2, one of level 1, one of level 0 and a log. */
export function specOf(rows: readonly Row[]): DirectorySpec {
  const spec: DirectorySpec = {
    tables: [],
    comparator: 'leveldb.BytewiseComparator',
    logNumber: 9,
    prevLogNumber: 0,
    nextFile: 11,
    lastSequence: BigInt(rows.length),
    edits: [],
    logs: new Map(),
  }
  const parts = [0, 0.4, 0.6, 0.8, 0.95].map(part => Math.floor(rows.length * part))
  for (const [i, level] of [2, 1, 1, 0].entries())
    spec.tables.push({
      level,
      number: 4 + i,
      rows: rows
        .slice(parts[i], parts[i + 1])
        .map(([key, value], at) => [internalKey(key, BigInt(parts[i]! + at + 1)), value]),
    })
  spec.logs.set(nameOf(9, 'log'), [batchOf(BigInt(parts[4]! + 1), rows.slice(parts[4]))])
  return spec
}

/**
 * Writes it to a directory.
 * @param sound a database of which the rest is: blobs, and COMMITTED
 */
export function writeFiles(directory: string, sound: string, spec: DirectorySpec): void {
  rmSync(directory, { recursive: true, force: true })
  mkdirSync(directory, { mode: 0o700 })
  cpSync(join(sound, 'blobs'), join(directory, 'blobs'), { recursive: true })
  writeFileSync(join(directory, 'COMMITTED'), readFileSync(join(sound, 'COMMITTED')))
  const known: Record<string, [number, number]> = {}
  const edits: Buffer[] = [
    Buffer.concat([
      varint(1),
      counted(Buffer.from(spec.comparator)),
      varint(2),
      varint(spec.logNumber),
      varint(9),
      varint(spec.prevLogNumber),
      varint(3),
      varint(spec.nextFile),
      varint(4),
      varint(spec.lastSequence),
    ]),
  ]
  for (const table of spec.tables) {
    const bytes = tableOf(table)
    const { size = bytes.length, first = table.rows[0]![0], last = table.rows.at(-1)![0] } = table.said ?? {}
    edits.push(addEdit(table.level, table.number, size, first, last))
    if (!table.missing) writeFileSync(join(directory, nameOf(table.number)), bytes)
    known[nameOf(table.number)] = [size, crc32(bytes)]
  }
  writeFileSync(join(directory, 'MANIFEST-000002'), logOf([...edits, ...spec.edits]))
  writeFileSync(join(directory, 'CURRENT'), 'MANIFEST-000002\n')
  for (const [name, batches] of spec.logs) writeFileSync(join(directory, name), logOf(batches))
  const content = JSON.stringify({ tables: known, damaged: [] })
  writeFileSync(join(directory, 'TABLES'), `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`)
}
