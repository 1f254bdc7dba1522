/**
 * npm run bench:db -- [--quick] [--json] [--only FAMILY,…] [--peers DIRECTORY]
 *
 * Measures the object database beside LevelDB as it is, lmdb and better-sqlite3: in one run, in turn, with fsync, with records of 300 bytes. The ratios
 * count; absolute numbers are the machine's. It runs the compiled code.
 *
 *   --quick   small sizes, some 20 seconds
 *   --json    one line of JSON instead of the table
 *   --only    commits, bulk, loads, reads, conflicts, memory, size, pack
 *   --peers   where lmdb and better-sqlite3 are installed; default here. They are not among the project's packages, since building one
 *             takes a minute:  npm install --prefix /tmp/peers lmdb better-sqlite3
 *
 * The databases are made in TMPDIR, which should be on the disk of interest. Exits with 1 if a target is missed.
 */
import { closeSync, fsyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bulk } from './bulk.ts'
import { commits } from './commits.ts'
import { conflicts } from './conflicts.ts'
import { loads } from './loads.ts'
import { latencies, median } from './measure.ts'
import { memory } from './memory.ts'
import { pack } from './pack.ts'
import { findPeers } from './peers.ts'
import { reads } from './reads.ts'
import { type Row, reached, table } from './report.ts'
import type { Family } from './setting.ts'
import { size } from './size.ts'

const FAMILIES: Record<string, Family> = { commits, bulk, loads, reads, conflicts, memory, size, pack }

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string', default: Object.keys(FAMILIES).join() },
    peers: { type: 'string', default: process.cwd() },
  },
})
const chosen = options.only.split(',')
for (const name of chosen) {
  if (FAMILIES[name] !== undefined) continue
  console.error(`bench:db: there is no family '${name}'; there are ${Object.keys(FAMILIES).join(', ')}`)
  process.exit(2)
}

const directories: string[] = []
process.on('exit', () => {
  for (const each of directories) rmSync(each, { recursive: true, force: true })
})
function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'bench-'))
  directories.push(directory)
  return directory
}

async function syncTime(): Promise<number> {
  const file = openSync(join(newDirectory(), 'file'), 'w')
  const times = await latencies(200, () => {
    writeSync(file, Buffer.alloc(512))
    fsyncSync(file)
  })
  closeSync(file)
  return median(times)
}

const peers = findPeers(options.peers)
const machine = {
  cores: availableParallelism(),
  processor: cpus()[0]?.model ?? 'unknown',
  node: process.version,
  directory: tmpdir(),
  microsecondsPerSync: Math.round(await syncTime()),
  absent: peers.absent,
}
const say = (text: string) => options.json || console.log(text)
say(`${machine.cores} cores (${machine.processor}), node ${machine.node}`)
say(`databases in ${machine.directory}, where a write with fsync takes ${machine.microsecondsPerSync} µs`)
for (const name of peers.absent)
  say(
    `${name} is not installed in ${options.peers}: it is left out (npm install --prefix /tmp/peers ${name}, --peers /tmp/peers)`,
  )

const rows: Row[] = []
for (const name of chosen) {
  const found = await FAMILIES[name]!({ quick: options.quick, peers, newDirectory })
  say(table(found))
  rows.push(...found)
}
const missed = rows.filter(({ target }) => target !== undefined && !reached(target))
say(missed.length === 0 ? 'all targets reached' : `targets missed: ${missed.map(({ measure }) => measure).join('; ')}`)
if (options.json) console.log(JSON.stringify({ machine, rows }))
if (missed.length > 0) process.exitCode = 1
