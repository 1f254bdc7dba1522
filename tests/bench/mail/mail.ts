/**
 * npm run bench:mail -- [--quick] [--json] [--only FAMILY,…] [--count N] [--size KB,…] [--connections N,…] [--rounds N] [--nullmailer DIRECTORY]
 *
 * Measures the way of mail, from the page to the server, beside nodemailer, Postfix and others: in one run, in turn, medians. The ratios count; absolute
 * numbers are the machine's. It runs the compiled code; the receiving side is Postfix's smtp-sink.
 *
 *   --quick         small sizes, some 30 seconds
 *   --json          one line of JSON instead of the tables
 *   --only          drain, slow, backlog, page, many, publish
 *   --count         messages of a drain; default 10000, of large ones as many as make 25 MB
 *   --size          their sizes in KB; default 2,200
 *   --connections   default 1,5,20
 *   --rounds        default 3
 *   --nullmailer    where its package was unpacked, since it cannot be installed beside Postfix:
 *                   apt-get download nullmailer && dpkg -x nullmailer_*.deb DIRECTORY
 *
 * Spools and databases are made in TMPDIR, which should be on the disk of interest. Postfix runs as an instance of its own, which needs root. What
 * is not installed is left out, and named. Exits with 1 only if it fails itself, not if an aim is missed.
 */
import { describeMachine, openBench } from '../command.ts'
import { backlog } from './backlog.ts'
import { drain } from './drain.ts'
import { many } from './many.ts'
import { findNullmailer } from './nullmailer.ts'
import { page, publish } from './page.ts'
import { startPostfix } from './postfix.ts'
import { findProgram } from './processes.ts'
import type { Family } from './setting.ts'
import { startSink } from './sink.ts'
import { slow } from './slow.ts'

const FAMILIES: Record<string, Family> = { drain, slow, backlog, page, many, publish }

const { bench, chosen, options, say, add, finish } = openBench('bench:mail', Object.keys(FAMILIES), {
  count: '',
  size: '2,200',
  connections: '1,5,20',
  rounds: '',
  nullmailer: '',
})
const { quick } = bench
const machine = await describeMachine(bench.newDirectory())
say(`${machine.cores} cores (${machine.processor}), node ${machine.node}`)
say(`spools in ${machine.directory}, where a write with fsync takes ${machine.microsecondsPerSync} µs`)

try {
  const sink = await startSink(bench)
  const postfix = await startPostfix(bench)
  const nullmailer = findNullmailer(bench, options.nullmailer)
  const absent = [
    ...(typeof postfix === 'string' ? [postfix] : []),
    ...(nullmailer === undefined ? ['nullmailer is not given (--nullmailer DIRECTORY)'] : []),
    ...(findProgram('msmtp') === undefined ? ['msmtp is not installed'] : []),
  ]
  for (const reason of absent) say(`${reason}: it is left out`)

  const numbers = (list: string) => list.split(',').map(Number)
  for (const name of chosen)
    add(
      await FAMILIES[name]!({
        ...bench,
        count: Number(options.count || (quick ? 200 : 10_000)),
        sizes: numbers(options.size),
        connections: numbers(options.connections),
        rounds: Number(options.rounds || (quick ? 1 : 3)),
        sink,
        postfix: typeof postfix === 'string' ? undefined : postfix,
        nullmailer,
      }),
    )
  finish({ ...machine, absent })
  process.exit()
} catch (error) {
  console.error(`bench:mail: ${error instanceof Error ? error.message : String(error)}`)
  process.exit(1)
}
