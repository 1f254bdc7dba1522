/**
 * Opening a LevelDB directory, with messages that help.
 *
 * One process at a time can have a directory open; LevelDB's lock sees to that. Within one process we look first ourselves: LevelDB would
 * open and close the lock file once more, and closing it gives up the process's lock (POSIX locks work so).
 */
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as LevelModule from 'level'
import { messageOf, ObjectError } from '../errors.ts'
import { damagedLogOf, damagedTable, RECOVERY } from './damage.ts'
import { assertUnforged } from './distrust.ts'
import { finishExchange } from './exchange.ts'
import type { Level } from './level.ts'
import { lockHolder } from './lock-holder.ts'
import { listedTables, manifestOf } from './manifest.ts'
import { Witness } from './witness.ts'

const openHere = new Set<string>()

/** By `require`, since it is CommonJS: imported, Node would look through its files for the names that they export. */
const levelDirectory = () => (createRequire(import.meta.url)('level') as typeof LevelModule).Level

/**
 * @param directory absolute path
 * @param options.create whether to make a directory and a database where there is none
 * @param options.salvage whether to open it although a table file is damaged: one without the damaged parts takes its place. If LevelDB's own
 *   list of its files is damaged, LevelDB makes a new one of what it finds. Both change the directory.
 * @param options.untrusted whether somebody else may have made it up; then all of it is looked through first
 * @throws {ObjectError} NOT_FOUND, DATABASE_LOCKED, DATABASE_CORRUPT, DATABASE_FAILED
 */
export async function openDirectory(
  directory: string,
  { create, salvage = false, untrusted = false }: { create: boolean; salvage?: boolean; untrusted?: boolean },
): Promise<{ level: Level; witness: Witness; again: Again }> {
  try {
    finishExchange(directory)
  } catch (error) {
    throw openFailure(directory, error)
  }
  if (!create && !existsSync(directory)) throw unseen(directory)
  try {
    if (!existsSync(directory)) await mkdir(directory, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw new ObjectError('DATABASE_FAILED', `the directory ${directory} cannot be made: ${messageOf(error)}`, {
      cause: error,
    })
  }
  const real = realpathSync.native(directory)
  if (openHere.has(real))
    throw new ObjectError(
      'DATABASE_LOCKED',
      `the database ${directory} is in use: this process has it open already; share the Database object, or close it first`,
    )
  if (untrusted && !salvage && existsSync(join(directory, 'CURRENT'))) await assertUnforged(directory)
  const witness = lookAt(directory)
  openHere.add(real)
  try {
    if (salvage && witness.checkAll()) leaveOutDamage(directory, witness)
    if (!salvage && witness.foreign) throw foreign(directory)
    // LevelDB would delete what is not in its list
    if (!salvage) refuseDamaged(directory, witness)
    // without its list of files LevelDB would take the directory for an empty one, and remove them
    const listed = existsSync(join(real, 'CURRENT'))
    const unlisted = !listed && readdirSync(real).some(isOfDatabase)
    if (!create && !listed && !unlisted) throw noDatabase(directory)
    if (witness.unlisted) await repair(directory, witness)
    if (create && !listed && !unlisted) witness.create()
    const level = levelIn(directory, create && !listed && !unlisted)
    const opening = level.open().catch(async error => {
      // it may be in the making
      if (isLocked(error)) throw openFailure(directory, error)
      if (!salvage) throw unlisted ? damagedList(directory, 'CURRENT is missing', error) : openFailure(directory, error)
      await repair(directory, witness)
      witness.condemn('MANIFEST')
      await level.open({ createIfMissing: false })
    })
    await checked(level, opening, directory, witness, salvage)
    const again = new Again(level, directory, real)
    return { level, witness, again }
  } catch (error) {
    openHere.delete(real)
    witness.close()
    throw error instanceof ObjectError ? error : openFailure(directory, error)
  }
}

/** Waits until LevelDB has opened, in another thread, and checks the newest tables meanwhile. @throws {ObjectError} DATABASE_CORRUPT */
async function checked(
  level: Level,
  opening: Promise<void>,
  directory: string,
  witness: Witness,
  salvage: boolean,
): Promise<void> {
  if (!salvage) witness.checkNewest()
  await opening
  witness.opened()
  // LevelDB would read on without a word, or end the process
  if (!salvage && witness.damaged.length > 0) await level.close()
  if (!salvage) refuseDamaged(directory, witness)
}

/**
 * How a directory that is open is closed and opened again. Nobody else in this process can open it meanwhile; another process can, and then it is
 * not opened again: what this one knows of it may be untrue.
 */
export class Again {
  private readonly level: Level
  private readonly directory: string
  private readonly real: string
  /** Whether it is closed for now only. */
  private between = false
  /** LevelDB's list as it was when it was open here. */
  private manifest: string | undefined
  /** Whether another process has had it open. */
  changedHands = false

  constructor(level: Level, directory: string, real: string) {
    this.level = level
    this.directory = directory
    this.real = real
    level.on('closed', () => {
      if (!this.between) openHere.delete(real)
    })
  }

  /** Closes it for now. */
  async close(): Promise<void> {
    this.manifest = manifestOf(this.directory)
    this.between = true
    await this.level.close()
  }

  /**
   * Opens it with all checks of an ordinary opening.
   * @throws {ObjectError} DATABASE_LOCKED, DATABASE_CORRUPT, DATABASE_FAILED; it is closed then
   */
  async open(): Promise<Witness> {
    const { level, directory } = this
    const manifest = manifestOf(directory)
    const next = listedTables(directory)?.nextFile
    if (manifest === undefined || next === undefined)
      throw new ObjectError('DATABASE_FAILED', `LevelDB's list of its files in ${directory} cannot be read`)
    if (manifest !== this.manifest) throw this.lost()
    const witness = lookAt(directory)
    try {
      refuseDamaged(directory, witness)
      const opening = level.open({ createIfMissing: false }).catch(error => {
        throw openFailure(directory, error)
      })
      await checked(level, opening, directory, witness, false)
      // each opening makes a manifest with the number that the one before names: another one since would have taken it
      if (manifestOf(directory) !== `MANIFEST-${String(next).padStart(6, '0')}`) throw this.lost()
      this.between = false
      return witness
    } catch (error) {
      await level.close()
      witness.close()
      throw error
    }
  }

  private lost(): ObjectError {
    this.changedHands = true
    return new ObjectError(
      'DATABASE_FAILED',
      `another process has had ${this.directory} open since a write failed here, and may have changed it: close the database, and open it again`,
    )
  }

  /** Lets go of it for good; it is closed. */
  leave(): void {
    if (this.between) openHere.delete(this.real)
    this.between = false
  }
}

/** What somebody who has the directory open, or is opening it, changes while we look, is no damage. */
function lookAt(directory: string): Witness {
  const witness = new Witness(directory)
  if (witness.damaged.length === 0) return witness
  witness.close()
  if (lockHolder(directory) !== undefined) throw locked(directory)
  return new Witness(directory)
}

/** What is not there, or may not be looked at. */
function unseen(directory: string): ObjectError {
  try {
    statSync(directory)
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (!['ENOENT', 'ENOTDIR'].includes(code)) return openFailure(directory, error)
  }
  return noDatabase(directory)
}

function noDatabase(directory: string): ObjectError {
  return new ObjectError(
    'NOT_FOUND',
    `there is no database at ${directory}; create it with 'objtree --db ${directory} init'`,
  )
}

function foreign(directory: string): ObjectError {
  return new ObjectError(
    'DATABASE_FORMAT',
    `${directory} is a LevelDB of something else: it has no files TABLES and COMMITTED; choose another directory. Or, if it has lost them, it is damaged: restore it from a backup`,
  )
}

function refuseDamaged(directory: string, { damaged, log }: Witness): void {
  if (log !== undefined) throw damagedLogOf(directory, log)
  if (damaged.length > 0) throw damagedTable(directory, damaged)
}

const isOfDatabase = (name: string): boolean => /^MANIFEST-|\.ldb$|^COMMITTED$/.test(name)

/** Has LevelDB make a new list of its files. It reads all tables that are there. */
async function repair(directory: string, witness: Witness): Promise<void> {
  if (witness.checkAll(true)) leaveOutDamage(directory, witness, true)
  await (levelDirectory() as unknown as { repair(directory: string): Promise<void> }).repair(directory)
}

function leaveOutDamage(directory: string, witness: Witness, unlisted?: boolean): void {
  if (lockHolder(directory) !== undefined) throw locked(directory)
  witness.leaveOutDamage(unlisted)
}

function levelIn(directory: string, createIfMissing: boolean): Level {
  const LevelDirectory = levelDirectory()
  return new LevelDirectory<Buffer, Buffer>(directory, {
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    createIfMissing,
  })
}

const causeOf = (error: unknown) => (error as Error).cause as (Error & { code?: string }) | undefined
const isLocked = (error: unknown) => causeOf(error)?.code === 'LEVEL_LOCKED'

function openFailure(directory: string, error: unknown): ObjectError {
  const cause = causeOf(error)
  const why = messageOf(cause ?? error)
  if (isLocked(error)) return locked(directory, error)
  if (cause?.code === 'LEVEL_CORRUPTION' || /: No such file/.test(why)) return damagedList(directory, why, error)
  return new ObjectError('DATABASE_FAILED', `the database ${directory} cannot be opened: ${why}`, { cause: error })
}

function damagedList(directory: string, why: string, cause: unknown): ObjectError {
  return new ObjectError('DATABASE_CORRUPT', `the database ${directory} is damaged: ${why}. ${RECOVERY}`, { cause })
}

function locked(directory: string, cause?: unknown): ObjectError {
  const holder = lockHolder(directory)
  const who = holder === undefined ? 'another process' : `process ${holder.pid} (${holder.command})`
  return new ObjectError(
    'DATABASE_LOCKED',
    `the database ${directory} is in use: ${who} has it open, and one process at a time can; wait until that one has ended`,
    { cause },
  )
}
