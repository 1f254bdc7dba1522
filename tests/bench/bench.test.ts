/** The benchmarks run, and tell what they are asked for. */
import { readdirSync } from 'node:fs'
import t from 'tap'
import { launch } from '../support/children.ts'
import { directory } from '../support/program.ts'

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
  const { machine, rows } = JSON.parse(stdout) as {
    machine: { absent: string[] }
    rows: { ours: number; peers: Record<string, number> }[]
  }
  t.same(machine.absent, ['lmdb', 'better-sqlite3'], 'what is not installed is named')
  t.equal(rows.length, 3)
  for (const { ours, peers } of rows) t.ok([ours, ...Object.values(peers)].every(value => value > 0))
  t.same(
    readdirSync(scratch).filter(name => name.startsWith('bench-')),
    [],
  )
})

t.test('a family that is not there is refused, with those that are', async t => {
  const { end, stderr } = await launch(t, 'tests/bench/db/database.ts', ['--only=speed']).ended
  t.equal(end, 2)
  t.match(stderr, /^bench:db: there is no family 'speed'; there are commits, bulk, loads, [^\n]+\n$/)
})
