/**
 * Restores databases that somebody made up: forger.ts SOUND ROWS HOME FIRST LAST. Each case is a number, from which what is wrong follows.
 * Prints a line before each, and what came of it after: `refused CODE MESSAGE`, `restored`.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { deserialize } from 'node:v8'
import { restoreDatabase } from '../../lib/index.ts'
import { openTestDatabase } from './database.ts'
import { HOSTILE, mutate } from './hostile-levels.ts'
import { type Row, specOf, writeFiles } from './level-files.ts'

function random(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

const [sound, rowsPath, home, first, last] = process.argv.slice(2) as [string, string, string, string, string]
process.removeAllListeners('warning')
const rows = (deserialize(readFileSync(rowsPath)) as Uint8Array[][]).map(
  row => row.map(part => Buffer.from(part)) as Row,
)
for (let number = Number(first); number < Number(last); number++) {
  process.stdout.write(`${number} `)
  const [from, to] = [join(home, `${first}.from`), join(home, `${first}.to`)]
  rmSync(to, { recursive: true, force: true })
  const spec = specOf(rows)
  const [, change] = HOSTILE[number] ?? []
  if (change !== undefined) change(spec)
  else mutate(spec, random(number * 7919 + 1))
  try {
    writeFiles(from, sound, spec)
  } catch (error) {
    process.stdout.write(`unmade ${String(error)}\n`)
    continue
  }
  try {
    await restoreDatabase(from, to)
    const db = await openTestDatabase(to)
    const { ok } = await db.verify()
    await db.close()
    process.stdout.write(ok ? 'restored\n' : 'restored, but not sound\n')
  } catch (error) {
    const { code, message } = error as { code?: string; message: string }
    process.stdout.write(`refused ${code} ${message.replace(/\s+/g, ' ')}\n`)
  }
}
