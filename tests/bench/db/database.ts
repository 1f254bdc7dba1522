/**
 * npm run bench:db -- [--quick] [--json] [--only FAMILY,…] [--peers DIRECTORY]
 *
 * Measures the object database beside LevelDB as it is, lmdb and better-sqlite3: in one run, in turn, with fsync, with records of 300 bytes. The ratios
 * count; absolute numbers are the machine's. It runs the compiled code.
 *
 *   --quick   small sizes, some 20 seconds
 *   --json    one line of JSON instead of the table
 *   --only    commits, bulk, loads, reads, conflicts, memory, size, pack, zodb
 *   --peers   where lmdb and better-sqlite3 are installed; default here. They are not among the project's packages, since building one
 *             takes a minute:  npm install --prefix /tmp/peers lmdb better-sqlite3
 *
 * The databases are made in TMPDIR, which should be on the disk of interest. Exits with 1 if a target is missed.
 */
import { describeMachine, openBench } from '../command.ts'
import { bulk } from './bulk.ts'
import { commits } from './commits.ts'
import { conflicts } from './conflicts.ts'
import { loads } from './loads.ts'
import { memory } from './memory.ts'
import { pack } from './pack.ts'
import { findPeers } from './peers.ts'
import { reads } from './reads.ts'
import type { Family } from './setting.ts'
import { size } from './size.ts'
import { zodb } from './zodb.ts'

const FAMILIES: Record<string, Family> = { commits, bulk, loads, reads, conflicts, memory, size, pack, zodb }

const { bench, chosen, options, say, add, finish } = openBench('bench:db', Object.keys(FAMILIES), {
  peers: process.cwd(),
})
const peers = findPeers(options.peers)
const machine = { ...(await describeMachine(bench.newDirectory())), absent: peers.absent }
say(`${machine.cores} cores (${machine.processor}), node ${machine.node}`)
say(`databases in ${machine.directory}, where a write with fsync takes ${machine.microsecondsPerSync} µs`)
for (const name of peers.absent)
  say(
    `${name} is not installed in ${options.peers}: it is left out (npm install --prefix /tmp/peers ${name}, --peers /tmp/peers)`,
  )
for (const name of chosen) add(await FAMILIES[name]!({ ...bench, peers }))
if (!finish(machine)) process.exitCode = 1
