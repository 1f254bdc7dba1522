/**
 * Restores damaged copies of a backup: restorer.ts BACKUP DIRECTORY FIRST LAST. Each case is a number, from which the damage follows.
 * Prints a line before each, and what came of it after: `refused CODE`, `restored`, or what is wrong.
 */
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Blob, restoreDatabase } from '../../lib/index.ts'
import { codeOf, type Item, openTestDatabase, type Root } from './database.ts'

/** What the root of the backup holds, as one text. */
export async function contentsOf(root: Root): Promise<string> {
  return [...Array.from(root.tree.values(), item => (item as Item).label), await (root.any as Blob).bytes()].join()
}

function random(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

/** Changes one of LevelDB's files in up to four places; in two of three cases what knows how they were written is gone. */
function damage(place: string, number: number): void {
  const pick = random(number * 7919 + 1)
  if (number % 3 > 0) rmSync(join(place, 'TABLES'), { force: true })
  if (number % 3 > 1) rmSync(join(place, 'COMMITTED'), { force: true })
  const names = readdirSync(place).filter(name => /\.ldb$|^MANIFEST|^CURRENT$|\.log$/.test(name))
  const file = join(place, names[pick(names.length)]!)
  const bytes = readFileSync(file)
  for (let edits = bytes.length === 0 ? 0 : pick(4) + 1; edits > 0; edits--) {
    const at = pick(bytes.length)
    const end = Math.min(bytes.length, at + 1 + pick(30))
    const how = pick(4)
    if (how === 0) bytes[at]! ^= 1 << pick(8)
    else if (how === 1) bytes.fill(pick(256), at, end)
    else if (how === 2) bytes.copy(bytes, pick(bytes.length), at, end)
    else bytes.set(Buffer.from('ffffffffff7f', 'hex').subarray(0, Math.min(6, bytes.length - at)), at)
  }
  writeFileSync(file, pick(8) === 0 ? bytes.subarray(0, pick(bytes.length)) : bytes)
}

async function main(backup: string, home: string, first: number, last: number): Promise<void> {
  process.removeAllListeners('warning')
  const sound = await openTestDatabase(join(home, 'live'))
  const expected = await sound.transact(contentsOf)
  await sound.close()
  for (let number = first; number < last; number++) {
    process.stdout.write(`${number} `)
    const [from, to] = [join(home, `${first}.from`), join(home, `${first}.to`)]
    rmSync(from, { recursive: true, force: true })
    rmSync(to, { recursive: true, force: true })
    cpSync(backup, from, { recursive: true })
    damage(from, number)
    const code = await codeOf(() => restoreDatabase(from, to))
    process.stdout.write(`${code === undefined ? await outcome(to, expected) : `refused ${code}`}\n`)
  }
}

async function outcome(place: string, expected: string): Promise<string> {
  const db = await openTestDatabase(place)
  try {
    const found = await db.transact(contentsOf)
    return found === expected ? 'restored' : `wrong: ${found.slice(0, 200)}`
  } catch (error) {
    return `wrong: ${String(error)}`
  } finally {
    await db.close()
  }
}

const [backup, home, first, last] = process.argv.slice(2)
if (home !== undefined) await main(backup!, home, Number(first), Number(last))
