/**
 * The witness: two small files beside LevelDB's own, which know what must be there. LevelDB does not check most of what it reads, and
 * drops without a word what it cannot read of its log.
 *
 *   COMMITTED   16 + 4 bytes: last durable tid, a tid from which on the chain is to be checked, CRC-32. Written after each batch, as soon as
 *               those who waited for it have gone on, without a sync: it may be behind the database, never ahead of it. If it is ahead, commits were lost.
 *   TABLES      one line of JSON: the size and CRC-32 of each table file, and the names of those found damaged. A table is written once and
 *               never changed. Its checksum is taken when the database is closed, and now and then while it is open.
 *
 * At open the sizes of all tables are compared, and the checksums of the newest; the others follow in the background, so that a large
 * database opens at once.
 *
 * A witness that is missing or damaged is made anew, with a warning; removing both accepts the loss they tell of.
 */
import {
  closeSync,
  openSync,
  read,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { crc32 } from 'node:zlib'
import { messageOf } from '../errors.ts'
import type { Tid } from '../persistent.ts'
import { readUInt64, writeUInt64 } from '../record.ts'
import { listedTables, liveTables } from './manifest.ts'

const readAt = promisify(read)

const COMMITTED = 'COMMITTED'
const TABLES = 'TABLES'
/** Bytes of writes after which LevelDB certainly has moved what was before from its log to tables. */
const LOG_BYTES = 10 * 1024 * 1024
const CHUNK = 1024 * 1024
/** Bytes of tables that are checked before the database opens. */
const CHECKED_FIRST = 4 * 1024 * 1024

interface Tables {
  readonly tables: Record<string, [size: number, checksum: number]>
  readonly damaged: string[]
}

export class Witness {
  /** What the database must hold at least; 0 if unknown. */
  readonly tid: Tid
  /** From where on the chain of transactions is to be checked at open. */
  readonly checkpoint: Tid
  /** Table files that are not as they were written. */
  readonly damaged: string[]
  /** Whether LevelDB's manifest has lost tables that it had not dropped; LevelDB would delete them when it opens. */
  readonly unlisted: boolean
  /** Tables whose contents are still to be checked, held open: LevelDB may replace one by another that has its damage. */
  private readonly unchecked = new Map<string, number>()
  /** The checksums of the tables when the witness was read. */
  private readonly expected: ReadonlyMap<string, number>
  private working = false
  private readonly directory: string
  private readonly known: Tables['tables']
  private file: number | undefined
  private readonly bytes = Buffer.alloc(20)
  private next: Tid
  private marked: Tid
  private sinceMark = 0
  /** Tells that COMMITTED is behind, until it is written. */
  private behind: NodeJS.Immediate | undefined

  /** Reads the witness of a directory that is not open in LevelDB yet, and checks the tables before LevelDB can rewrite them. */
  constructor(directory: string) {
    this.directory = directory
    const { tables, damaged } = readTables(join(directory, TABLES))
    const committed = readCommitted(join(directory, COMMITTED))
    this.tid = committed.tid
    this.checkpoint = committed.checkpoint
    this.marked = committed.checkpoint
    this.next = committed.tid
    this.known = tables
    this.expected = new Map(Object.entries(tables).map(([name, [, checksum]]) => [name, checksum]))
    this.damaged = damaged
    const listed = listedTables(directory)
    this.unlisted = Object.keys(tables).some(
      name =>
        listed !== undefined &&
        !listed.live.has(name) &&
        !listed.dropped.has(name) &&
        sizeOf(join(directory, name), -1) >= 0,
    )
    if (this.unlisted) this.condemn('MANIFEST')
    let checked = 0
    for (const name of Object.keys(tables).sort().reverse()) {
      const [size, checksum] = tables[name]!
      if (sizeOf(join(directory, name), size) !== size) this.condemn(name)
      else if (checked >= CHECKED_FIRST) this.hold(name)
      else if (fingerprint(join(directory, name), checksum) !== checksum) this.condemn(name)
      checked += size
    }
  }

  /** @param last the last transaction that is there. To be called when LevelDB has opened (and so locked) the directory: from here on files are written. */
  begin(last: Tid): void {
    const path = join(this.directory, COMMITTED)
    closeSync(openSync(path, 'a', 0o600))
    this.file = openSync(path, 'r+')
    if (this.damaged.length > 0) this.writeTables()
    // opening has moved LevelDB's log to tables
    this.marked = last
    this.next = last
    if (last > 0) this.committed(last, 0)
  }

  /** Called when so much has been written that there are new tables. */
  moved = (): void => {}

  /** A batch of that many bytes has become durable. */
  committed(tid: Tid, bytes: number): void {
    this.sinceMark += bytes
    if (this.sinceMark > LOG_BYTES) {
      this.marked = this.next
      this.next = tid
      this.sinceMark = 0
      this.moved()
    }
    writeUInt64(this.bytes, tid, 0)
    writeUInt64(this.bytes, this.marked, 8)
    // whoever waits for the commit goes on first
    this.behind ??= setImmediate(() => this.write())
  }

  private write(): void {
    clearImmediate(this.behind)
    this.behind = undefined
    if (this.file === undefined) return
    this.bytes.writeUInt32BE(crc32(this.bytes.subarray(0, 16)), 16)
    try {
      writeSync(this.file, this.bytes, 0, 20, 0)
    } catch {
      // it stays behind, which is allowed
    }
  }

  /**
   * Checks the tables that are still to be checked, and takes the checksums of new ones, a piece at a time.
   */
  async watch(): Promise<void> {
    if (this.working) return
    this.working = true
    try {
      for (const [name, table] of this.unchecked) {
        const checksum = await this.checksum(table)
        if (checksum === undefined) return
        this.checked(name, checksum)
      }
      for (const name of this.fresh()) {
        const path = join(this.directory, name)
        const size = sizeOf(path, -1)
        if (size < 0) continue
        const table = openSync(path, 'r')
        const checksum = await this.checksum(table).finally(() => closeSync(table))
        if (checksum === undefined) return
        this.known[name] = [size, checksum]
      }
      if (this.file !== undefined) this.writeTables()
    } catch (error) {
      // the end of the witness closes the tables that are being read
      if (this.file !== undefined) this.complain(error)
    } finally {
      this.working = false
    }
  }

  /** Ends the witness; the database is closed. Takes the checksums of new tables. */
  close(): void {
    if (this.file === undefined) {
      for (const table of this.unchecked.values()) closeSync(table)
      this.unchecked.clear()
      return
    }
    if (this.behind !== undefined) this.write()
    closeSync(this.file)
    this.file = undefined
    try {
      const live = liveTables(this.directory)
      for (const [name, table] of this.unchecked) {
        // what has been replaced cannot be checked the next time
        if (live?.has(name)) closeSync(table)
        else this.checked(name, checksumOf(table))
      }
      for (const name of this.fresh()) {
        const path = join(this.directory, name)
        this.known[name] = [sizeOf(path, 0), fingerprint(path, 0)]
      }
      this.writeTables()
    } catch (error) {
      this.complain(error)
    }
  }

  /** The live tables that are not known yet; those that live no more are forgotten. */
  private fresh(): string[] {
    const live = liveTables(this.directory)
    if (live === undefined || this.damaged.length > 0) return []
    for (const name of Object.keys(this.known)) if (!live.has(name)) delete this.known[name]
    return [...live].filter(name => !Object.hasOwn(this.known, name))
  }

  /** The checksum of a file, read without holding anyone up; undefined if the witness has ended meanwhile. */
  private async checksum(file: number): Promise<number | undefined> {
    const chunk = Buffer.allocUnsafe(CHUNK)
    let checksum = 0
    for (let at = 0; ; ) {
      const { bytesRead } = await readAt(file, chunk, 0, CHUNK, at)
      if (this.file === undefined) return undefined
      if (bytesRead === 0) return checksum
      checksum = crc32(chunk.subarray(0, bytesRead), checksum)
      at += bytesRead
    }
  }

  /** Takes a table that was to be checked from the list. */
  private checked(name: string, checksum: number): void {
    closeSync(this.unchecked.get(name) as number)
    this.unchecked.delete(name)
    if (this.expected.get(name) === checksum) return
    this.condemn(name)
    this.writeTables()
  }

  private hold(name: string): void {
    const path = join(this.directory, name)
    if (sizeOf(path, -1) >= 0) this.unchecked.set(name, openSync(path, 'r'))
  }

  /** Notes a file as damaged. */
  condemn(name: string): void {
    delete this.known[name]
    if (!this.damaged.includes(name)) this.damaged.push(name)
    this.damaged.sort()
  }

  private complain(error: unknown): void {
    process.emitWarning(`${join(this.directory, TABLES)} could not be written: ${messageOf(error)}`, 'DatabaseWarning')
  }

  private writeTables(): void {
    const content = JSON.stringify({ tables: this.known, damaged: this.damaged })
    const path = join(this.directory, TABLES)
    writeFileSync(`${path}.new`, `${crc32(content).toString(16).padStart(8, '0')} ${content}\n`, { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }
}

/** The size of a file; `otherwise` if it is gone: LevelDB itself misses a table that it needs. */
function sizeOf(path: string, otherwise: number): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? otherwise
}

/** The checksum of a file; `otherwise` if it is gone. */
function fingerprint(path: string, otherwise: number): number {
  if (sizeOf(path, -1) < 0) return otherwise
  const file = openSync(path, 'r')
  try {
    return checksumOf(file)
  } finally {
    closeSync(file)
  }
}

function checksumOf(file: number): number {
  const chunk = Buffer.allocUnsafe(CHUNK)
  let checksum = 0
  let at = 0
  for (let n = readSync(file, chunk, 0, CHUNK, at); n > 0; n = readSync(file, chunk, 0, CHUNK, at)) {
    checksum = crc32(chunk.subarray(0, n), checksum)
    at += n
  }
  return checksum
}

function readTables(path: string): Tables {
  const none = { tables: {}, damaged: [] }
  const text = contentOf(path)?.toString()
  if (text === undefined) return none
  const found = tablesSaid(text)
  if (found === undefined) unreadable(path)
  return found ?? none
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
  const { tables, damaged } = found ?? {}
  if (typeof tables !== 'object' || tables === null || !Array.isArray(damaged)) return undefined
  const entries = Object.entries(tables)
  const isEntry = ([name, entry]: [string, unknown]) =>
    /^\d+\.ldb$/.test(name) && Array.isArray(entry) && entry.length === 2 && entry.every(Number.isSafeInteger)
  return entries.every(isEntry) && damaged.every(name => typeof name === 'string')
    ? { tables: Object.fromEntries(entries), damaged }
    : undefined
}

function readCommitted(path: string): { tid: Tid; checkpoint: Tid } {
  const bytes = contentOf(path)
  if (bytes === undefined || bytes.length === 0) return { tid: 0, checkpoint: 0 }
  const found = committedSaid(bytes)
  if (found === undefined) unreadable(path)
  return found ?? { tid: 0, checkpoint: 0 }
}

/** What the content of COMMITTED says; undefined if it is damaged. */
export function committedSaid(bytes: Buffer): { tid: Tid; checkpoint: Tid } | undefined {
  if (bytes.length !== 20 || crc32(bytes.subarray(0, 16)) !== bytes.readUInt32BE(16)) return undefined
  return { tid: readUInt64(bytes, 0), checkpoint: readUInt64(bytes, 8) }
}

function contentOf(path: string): Buffer | undefined {
  try {
    return readFileSync(path)
  } catch {
    return undefined
  }
}

function unreadable(path: string): void {
  process.emitWarning(`${path} is damaged; it is made anew. Let verify check the database`, 'DatabaseWarning')
}
