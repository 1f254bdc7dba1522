/**
 * Whether LevelDB can open a directory that somebody else may have made up, checksums and all. It trusts its files: keys in disorder, a manifest
 * that lies, or two writes of one number end the process. So every file is looked through completely before LevelDB sees it, and what LevelDB
 * itself would not have written is refused. Needed of memory are twice the largest block, which is a record or 4 KiB, and the manifest.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, ObjectError } from '../errors.ts'
import { BatchReader } from './batch-reader.ts'
import { lockHolder } from './lock-holder.ts'
import { lookIntoLog } from './log-file.ts'
import { aside } from './looking.ts'
import { bytesOf, type Entry, logsFrom, nameOf } from './manifest.ts'
import { type Contents, checkManifest, MOST_NUMBER } from './manifest-check.ts'
import { shown, Unsound } from './table-block.ts'
import { lookInto } from './table-file.ts'

/** Bytes of the small files that are read whole. */
const MOST_OF = { CURRENT: 100, COMMITTED: 20, TABLES: 64 * 1024 * 1024 }
/** What LevelDB, or the witness, reads or writes. */
const USED = /^(\d+\..*|CURRENT|LOCK|LOG|LOG\.old|MANIFEST-.*|COMMITTED|TABLES(\.new)?)$/

/**
 * Looks through all files of a directory that LevelDB has not open.
 * @throws {ObjectError} DATABASE_CORRUPT with the file, what was expected and what was found; not if somebody has the directory open
 */
export async function assertUnforged(directory: string): Promise<void> {
  let name = 'CURRENT'
  try {
    for (name of readdirSync(directory)) assertPlain(directory, name)
    name = 'CURRENT'
    const manifest = readFileSync(join(directory, name), 'latin1')
    if (!/^MANIFEST-\d{6,15}\n$/.test(manifest))
      throw new Unsound('expected the name of a manifest, found something else')
    name = manifest.trim()
    const contents = await checkManifest(join(directory, name), Number(name.slice(9)))
    for (const table of contents.tables) {
      name = nameOf(table.number)
      await assertTable(directory, table, contents)
    }
    const batches = new BatchReader()
    const logs = logsFrom(directory, contents.log)
    name = nameOf(contents.log, 'log')
    if (contents.log > 0 && logs[0] !== name) throw new Unsound('expected it, as the manifest says, found none')
    for (name of logs) {
      await lookIntoLog(join(directory, name), batches)
    }
  } catch (error) {
    // it may change while we look; opening it tells who has it
    if (lockHolder(directory) !== undefined) return
    throw new ObjectError(
      'DATABASE_CORRUPT',
      `${directory} is damaged, or made up: ${name}: ${messageOf(error)}. LevelDB has not opened it. Take another backup; or, on a copy of the directory, read what is left with the option salvage`,
      { cause: error },
    )
  }
}

/** A link would have LevelDB, or us, read or write what is elsewhere; and LevelDB takes several names for one. */
function assertPlain(directory: string, name: string): void {
  const found = lstatSync(join(directory, name))
  if (name === 'blobs') assertDirectories(join(directory, name))
  if (!USED.test(name)) return
  if (!found.isFile()) throw new Unsound('expected a file, found a link or something else')
  const [, number, extension] = /^(\d+)\.(log|ldb|sst|dbtmp)$/.exec(name) ?? []
  if (
    number !== undefined &&
    (name !== nameOf(Number(number), extension) || !(Number(number) > 0 && Number(number) <= MOST_NUMBER))
  )
    throw new Unsound(`expected a number from 1 to ${MOST_NUMBER}, of six digits at least`)
  const most = (MOST_OF as Record<string, number>)[name]
  if (most !== undefined && found.size > most) throw new Unsound(`expected ${most} bytes at most, found ${found.size}`)
}

function assertDirectories(blobs: string): void {
  const isLink = (path: string) => lstatSync(path).isSymbolicLink()
  if (isLink(blobs) || readdirSync(blobs).some(name => isLink(join(blobs, name))))
    throw new Unsound('expected directories, found a link')
}

async function assertTable(directory: string, table: Entry, { lastWrite }: Contents): Promise<void> {
  const file = openSync(join(directory, nameOf(table.number)), constants.O_RDONLY | constants.O_NOFOLLOW)
  try {
    const { size } = fstatSync(file)
    if (size !== table.bytes) throw new Unsound(`expected ${table.bytes} bytes, as the manifest says, found ${size}`)
    const { damage, keys } = (await aside(file, lookInto(size, true)))!
    if (damage !== undefined) throw new Unsound(damage.problem)
    for (const side of ['first', 'last'] as const) {
      const [said, found] = [bytesOf(table[side]), keys?.[side]]
      if (found === undefined || !found.equals(said))
        throw new Unsound(
          `expected the ${side} key ${shown(said)}, as the manifest says, found ${found ? shown(found) : 'none'}`,
        )
    }
    if (keys!.lastWrite > lastWrite)
      throw new Unsound(`expected writes up to ${lastWrite}, as the manifest says, found ${keys!.lastWrite}`)
  } finally {
    closeSync(file)
  }
}
