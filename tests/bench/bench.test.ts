/** The benchmarks run, and tell what they are asked for. */
import { readdirSync, readFileSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import t from 'tap'
import { launch } from '../support/children.ts'
import { directory } from '../support/program.ts'
import { findProgram } from './mail/processes.ts'

interface Results {
  machine: { absent: string[] }
  rows: { measure: string; ours: number; peers: Record<string, number>; target?: object }[]
}

t.test('bench:db measures, prints JSON and leaves nothing behind', async t => {
  const scratch = await directory(t, 'bench-test-')
  const run = launch(
    t,
    'tests/bench/db/database.ts',
    ['--quick', '--json', '--only=reads,conflicts', '--peers', scratch],
    {
      env: { TMPDIR: scratch },
    },
  )
  const { stdout, stderr } = await run.ended
  t.equal(stderr, '')
  const { machine, rows } = JSON.parse(stdout) as Results
  t.same(machine.absent, ['lmdb', 'better-sqlite3'], 'what is not installed is named')
  t.equal(rows.length, 3)
  for (const { ours, peers } of rows) t.ok([ours, ...Object.values(peers)].every(value => value > 0))
  t.same(
    readdirSync(scratch).filter(name => name.startsWith('bench-')),
    [],
  )
})

const ABSENT =
  /^(Postfix is not installed|Postfix runs only for root|nullmailer is not given .*|msmtp is not installed)$/

t.test('bench:mail measures each family beside the peers that are there, and leaves nothing behind', async t => {
  const scratch = await directory(t, 'bench-test-')
  await chmod(scratch, 0o755) // Postfix works as a user of its own
  const args = ['--quick', '--json', '--count=20', '--size=2', '--connections=2']
  const { end, stdout, stderr } = await launch(t, 'tests/bench/mail/mail.ts', args, { env: { TMPDIR: scratch } }).ended
  t.same(
    readdirSync(scratch).filter(name => name.startsWith('bench-')),
    [],
  )
  t.same(processesIn(scratch), [])
  if (findProgram('smtp-sink') === undefined) {
    t.equal(end, 1)
    return t.match(stderr, /^bench:mail: smtp-sink is not installed[^\n]+\n$/)
  }
  t.same({ end, stderr }, { end: 0, stderr: '' })
  const { machine, rows } = JSON.parse(stdout) as Results
  for (const reason of machine.absent) t.match(reason, ABSENT)
  t.ok(rows.filter(({ target }) => target !== undefined).length >= 8, 'the aims are among the rows')
  for (const { measure, ours, peers } of rows)
    t.ok(
      [ours, ...Object.values(peers)].every(value => value > 0),
      `${measure} was measured`,
    )
})

/** Processes that were started with a path under a directory. */
function processesIn(directory: string): string[] {
  return readdirSync('/proc').filter(pid => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(directory)
    } catch {
      return false
    }
  })
}

t.test('a family that is not there is refused, with those that are', async t => {
  const { end, stderr } = await launch(t, 'tests/bench/db/database.ts', ['--only=speed']).ended
  t.equal(end, 2)
  t.match(stderr, /^bench:db: there is no family 'speed'; there are commits, bulk, loads, [^\n]+\n$/)
  const asked = await launch(t, 'tests/bench/db/database.ts', ['--help']).ended
  t.match(asked, { end: 0, stderr: '', stdout: /--only FAMILY.*--peers .*\nfamilies: commits, .*zodb\n$/ })
})
