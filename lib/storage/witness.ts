/**
 * The witness: two small files beside LevelDB's own, which know what must be there. LevelDB does not check most of what it reads, and
 * drops without a word what it cannot read of its log.
 *
 *   COMMITTED   16 + 4 bytes: last durable tid, a tid from which on the chain is to be checked, CRC-32. Written after each batch, as soon as
 *               those who waited for it have gone on, without a sync: it may be behind the database, never ahead of it. If it is ahead, commits were lost.
 *   TABLES      one line of JSON: the size and CRC-32 of each table file, the names of files found damaged, and the last durable tid. A table is
 *               written once and never changed. All is written when the database is closed, and now and then while it is open. The file is there
 *               before LevelDB's are: where it is missing or damaged, nothing tells whether LevelDB can read the others, and the database is refused.
 *
 * At open the sizes of all tables are compared, and, while LevelDB opens (or before, if it is about to merge some: it ends the process where it
 * meets keys in disorder), the checksums of the newest; the others follow in the background, so that a large database opens at once. Tables that
 * are not in the list yet, since the process was killed, are checked before LevelDB opens, by the checksums that they have themselves.
 *
 * A COMMITTED that is missing or damaged is made anew, the latter with a warning, unless TABLES knows of a later commit than LevelDB, or LevelDB's
 * log is damaged by its own checksums. What TABLES does not know of is lost unseen then if the log ends too early. The word `accept` in COMMITTED
 * accepts what is lost.
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { messageOf } from '../errors.ts'
import type { Tid } from '../ids.ts'
import { writeUInt64 } from '../record.ts'
import { type DamagedLog, damagedLog } from './log-file.ts'
import { atOnce } from './looking.ts'
import { type Listed, listedTables, liveTables, type Table } from './manifest.ts'
import { isMerging, mergedAtOpening } from './merging.ts'
import { fingerprint, fingerprintAside, isThere, TableChecks } from './table-checks.ts'
import { type Looked, leaveOut, lookInto } from './table-file.ts'
import { blocksIn } from './table-search.ts'
import {
  COMMITTED,
  contentOf,
  isTable,
  readCommitted,
  readTables,
  TABLES,
  type Tables,
  textOf,
} from './witness-files.ts'

/** Bytes of writes after which LevelDB certainly has moved what was before from its log to tables. */
const LOG_BYTES = 10 * 1024 * 1024
/** Bytes of tables that are checked before anything is read: as many as take no longer than LevelDB takes to open. */
const CHECKED_FIRST = 4 * 1024 * 1024
/** Bytes of those that LevelDB is about to merge that are checked before it opens. */
const CHECKED_BEFORE_MERGING = 4 * CHECKED_FIRST
/** Bytes of those that are checked before it opens since they are not in TABLES: more than a kill usually leaves. */
const CHECKED_UNKNOWN = 64 * 1024 * 1024

/** Milliseconds that closing waits for a merge. */
const MERGING = 1000

export class Witness {
  /** What the database must hold at least; 0 if unknown. */
  readonly tid: Tid
  /** From where on the chain of transactions is to be checked at open. */
  readonly checkpoint: Tid
  /** Table files, and other ones, that are not as they were written. */
  readonly damaged: string[]
  /** A damaged log. It is looked for where COMMITTED does not tell what must be there. */
  readonly log: DamagedLog | undefined
  /** Whether nothing in the directory is ours, but LevelDB has a database there. */
  readonly foreign: boolean
  /** Whether LevelDB's manifest has lost tables that it had not dropped; LevelDB would delete them when it opens. */
  readonly unlisted: boolean
  /** Whether LevelDB merges tables as soon as it has opened. */
  readonly merges: boolean
  /** Tables whose contents are still to be checked. */
  private readonly checks = new TableChecks()
  /** How many bytes of them were checked before LevelDB opened. */
  private readonly checked: number
  private working = false
  private readonly directory: string
  private readonly listed: Listed | undefined
  private readonly known: Tables['tables']
  /** Whether the user goes on with what is there. */
  private readonly accepted: boolean
  /** The last transaction that is known to be durable. */
  private last: Tid
  private file: number | undefined
  private readonly bytes = Buffer.alloc(20)
  private next: Tid
  private marked: Tid
  private sinceMark = 0
  /** Tells that COMMITTED is behind, until it is written. */
  private behind: NodeJS.Immediate | undefined

  /** Reads the witness of a directory that is not open in LevelDB yet, and checks the tables that LevelDB merges as soon as it opens. */
  constructor(directory: string) {
    this.directory = directory
    const { tables, damaged, tid } = readTables(directory)
    this.foreign = damaged.includes(TABLES) && ![TABLES, COMMITTED].some(name => isThere(join(directory, name)))
    const committed = readCommitted(directory)
    const said = typeof committed === 'string' ? { tid: 0, checkpoint: 0 } : committed
    this.accepted = committed === 'accepted'
    this.tid = this.accepted ? 0 : Math.max(said.tid, tid)
    this.last = this.tid
    this.checkpoint = said.checkpoint
    this.marked = said.checkpoint
    this.next = said.tid
    this.known = tables
    this.damaged = damaged
    const listed = listedTables(directory)
    this.listed = listed
    this.unlisted = Object.keys(tables).some(
      name =>
        listed !== undefined && !listed.live.has(name) && !listed.dropped.has(name) && isThere(join(directory, name)),
    )
    if (this.unlisted) this.condemn('MANIFEST')
    if (committed === 'unknown' && listed !== undefined && !this.foreign) this.log = damagedLog(directory, listed)
    if (this.log !== undefined) this.condemn(this.log.name)
    const merged = listed === undefined ? [] : mergedAtOpening(directory, listed)
    this.merges = merged.length > 0
    // what is refused anyway is not looked through
    if (this.damaged.length === 0)
      for (const name of listed?.live ?? []) if (!Object.hasOwn(tables, name)) this.hold(name)
    this.checkHeld(CHECKED_UNKNOWN, false)
    for (const { name } of merged) this.hold(name)
    this.checked = this.checkHeld(CHECKED_BEFORE_MERGING)
  }

  /**
   * Holds all tables that are to be checked, and checks the newest; to be done before anything is read from the database. What has begun to open
   * merges others meanwhile at most, and removes those that it has merged.
   */
  checkNewest(): void {
    for (const name in this.known) this.hold(name)
    this.checkHeld(CHECKED_FIRST - this.checked)
  }

  /**
   * Checks all of LevelDB's tables.
   * @param unlisted whether those, too, that are not in its list
   * @returns whether one is damaged
   */
  checkAll(unlisted = this.listed === undefined): boolean {
    const live = unlisted ? undefined : this.listed?.live
    for (const name of live ?? readdirSync(this.directory).filter(isTable)) this.hold(name)
    for (const name of this.checks.names) if (!this.checks.compare(name)) this.condemn(name)
    return this.damaged.some(isTable)
  }

  /**
   * Leaves out of the damaged tables what is damaged, for LevelDB may end the process where it meets it. A table that is not the one that was
   * written, though it may be a sound one, is left out whole: its keys may not be where LevelDB takes them to be.
   * @param unlisted whether LevelDB's list is to be made anew
   */
  leaveOutDamage(unlisted = this.listed === undefined): void {
    this.writeTables()
    for (const name of this.damaged.filter(isTable)) {
      const path = join(this.directory, name)
      const found = statSync(path, { throwIfNoEntry: false })?.size
      if (found === undefined) continue
      if (isThere(`${path}.damaged`)) {
        if (unlisted && lookAtTable(path, found).keys === undefined) rmSync(path)
        continue
      }
      const listed = this.listedTable(name)
      const { damage } = lookAtTable(path, found)
      const same = listed === undefined || listed.bytes === found
      const sound = damage?.list ? blocksIn(path, listed) : (same && damage?.sound) || []
      // a table without keys has no place in a list that is made anew: LevelDB would end the process
      if (unlisted && sound.length === 0) renameSync(path, `${path}.damaged`)
      else leaveOut(sound, path, listed?.bytes ?? found)
    }
  }

  private listedTable(name: string): Table | undefined {
    return this.listed?.levels.flat().find(table => table.name === name)
  }

  private hold(name: string): void {
    const path = `${this.directory}/${name}`
    const size =
      this.known[name]?.[0] ?? this.listedTable(name)?.bytes ?? statSync(path, { throwIfNoEntry: false })?.size
    if (size === undefined || this.damaged.includes(name)) return
    const checksum = this.known[name]?.[1]
    if (!this.checks.hold(name, path, size, checksum)) this.condemn(name)
  }

  /** @returns how many bytes were compared */
  private checkHeld(bytes: number, known = true): number {
    const { damaged, seen } = this.checks.newest(bytes, known)
    for (const name of damaged) this.condemn(name)
    return seen
  }

  /**
   * LevelDB has opened the directory. What is damaged is noted, so that it is refused the next time too: LevelDB may put the content of a
   * damaged table into a new one, and remove it.
   */
  opened(): void {
    if (this.damaged.length === 0) return
    try {
      this.writeTables()
    } catch (error) {
      this.complain(error)
    }
  }

  /** To be called before LevelDB makes a database of an empty directory: so there is none without the file. */
  create(): void {
    this.writeTables()
    const directory = openSync(this.directory, 'r')
    try {
      fsyncSync(directory)
    } finally {
      closeSync(directory)
    }
  }

  /** @param last the last transaction that is there. To be called when LevelDB has opened (and so locked) the directory: from here on files are written. */
  begin(last: Tid): void {
    this.last = this.accepted ? last : Math.max(this.last, last)
    // TABLES knows what was lost, too
    if (this.accepted) this.writeTables()
    this.file = openSync(`${this.directory}/${COMMITTED}`, constants.O_RDWR | constants.O_CREAT, 0o600)
    if (fstatSync(this.file).size > this.bytes.length) ftruncateSync(this.file, this.bytes.length)
    // opening has moved LevelDB's log to tables
    this.marked = last
    this.next = last
    if (last > 0) this.committed(last, 0)
  }

  /** Called when so much has been written that there are new tables. */
  moved = (): void => {}

  /** A batch of that many bytes has become durable. */
  committed(tid: Tid, bytes: number): void {
    this.last = tid
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
      const ended = () => this.file === undefined
      for (const name of this.checks.names) {
        const same = await this.checks.compareAside(name, ended)
        if (same === undefined) return
        if (!same) this.condemnNow(name)
      }
      for (const name of this.fresh()) {
        const found = await fingerprintAside(join(this.directory, name), ended)
        if (ended()) return
        if (found !== undefined) this.known[name] = found
      }
      if (this.file !== undefined) this.writeTables()
    } catch (error) {
      // the end of the witness closes the tables that are being read
      if (this.file !== undefined) this.complain(error)
    } finally {
      this.working = false
    }
  }

  /**
   * Waits until LevelDB has merged what it is merging, one second at most: closed before, it begins anew each time that it is opened, and each time
   * that has to wait until those tables are compared.
   */
  async merged(): Promise<void> {
    if (this.damaged.length > 0) return
    for (const until = performance.now() + MERGING; performance.now() < until; await delay(10)) {
      const listed = listedTables(this.directory)
      if (listed === undefined || !isMerging(listed)) return
    }
  }

  /** Ends the witness; the database is closed. Takes the checksums of new tables. */
  close(): void {
    if (this.file === undefined) {
      this.checks.end()
      return
    }
    if (this.behind !== undefined) this.write()
    closeSync(this.file)
    this.file = undefined
    try {
      const live = liveTables(this.directory)
      for (const name of this.checks.names) {
        // what has been replaced cannot be checked the next time
        if (live?.has(name)) this.checks.drop(name)
        else if (!this.checks.compare(name)) this.condemnNow(name)
      }
      for (const name of this.fresh()) {
        const found = fingerprint(join(this.directory, name))
        if (found !== undefined) this.known[name] = found
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

  private condemnNow(name: string): void {
    this.condemn(name)
    this.writeTables()
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
    const text = textOf({ tables: this.known, damaged: this.damaged, tid: this.last })
    const path = join(this.directory, TABLES)
    if (contentOf(path)?.toString() === text) return
    // a power cut must not leave a name without its content
    writeFileSync(`${path}.new`, text, { mode: 0o600, flush: true })
    renameSync(`${path}.new`, path)
  }
}

function lookAtTable(path: string, size: number): Looked {
  const file = openSync(path, 'r')
  try {
    return atOnce(file, lookInto(size, true))
  } finally {
    closeSync(file)
  }
}
