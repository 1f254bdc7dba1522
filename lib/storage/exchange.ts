/**
 * Putting a database into the place of another one, with two renames; a kill at any point is made good.
 *
 *     <directory>            the old one        –                –  ◀ the new one
 *     <directory>.restored   the new one, whole; REPLACES in it names the old one's new place
 *     <aside>                –                  the old one      the old one
 *
 * Between the two there is no database in its place. Whoever opens or restores it then does the second rename: the new one is whole, and
 * that the old one is at the place that it names says that the exchange had begun. A new one that was left before that counts for nothing.
 */
import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

const REPLACES = 'REPLACES'

/** Where the new database is made. */
export const freshPlace = (directory: string): string => `${directory}.restored`

/**
 * @param aside the new place of what is in the directory, beside it
 * @param assertFree throws if somebody has the old database open, at its new place; then all is as it was
 */
export async function exchange(
  directory: string,
  aside: string,
  assertFree: (place: string) => Promise<unknown>,
): Promise<void> {
  const fresh = freshPlace(directory)
  await writeFile(join(fresh, REPLACES), aside, { flush: true })
  await sync(fresh)
  await rename(directory, aside)
  try {
    await assertFree(aside)
  } catch (error) {
    await rm(join(fresh, REPLACES))
    await rename(aside, directory)
    throw error
  }
  finishExchange(directory)
  await sync(dirname(directory))
}

/** Does the second rename if an exchange was interrupted before it; otherwise nothing. */
export function finishExchange(directory: string): void {
  const fresh = freshPlace(directory)
  if (existsSync(directory) || !existsSync(asideOf(fresh))) return
  try {
    renameSync(fresh, directory)
    rmSync(join(directory, REPLACES), { force: true })
  } catch (error) {
    // somebody else has just done it
    if (!existsSync(directory)) throw error
  }
}

function asideOf(fresh: string): string {
  try {
    return readFileSync(join(fresh, REPLACES), 'utf8')
  } catch {
    return ''
  }
}

async function sync(directory: string): Promise<void> {
  const handle = await open(directory, 'r')
  await handle.sync().finally(() => handle.close())
}
