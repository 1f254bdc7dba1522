/** What grows with the database, and what should not: the time to open it, to commit a change, to load an object. */
import { performance } from 'node:perf_hooks'
import { latencies, median, shuffled } from '../measure.ts'
import type { Row } from '../report.ts'
import { openLevel } from './peers.ts'
import { addGroup, type Item, openStore } from './sample.ts'
import type { Setting } from './setting.ts'

const GROUP = 10_000

export async function size({ quick, newDirectory }: Setting): Promise<Row[]> {
  const [sizes, calls, opens] = quick ? [[1000, 10_000, 100_000], 200, 3] : [[10_000, 100_000, 1_000_000], 1000, 7]
  const stores = await Promise.all(
    sizes.map(async count => ({ count, directory: newDirectory(), oids: [] as number[] })),
  )
  for (const { count, directory, oids } of stores) {
    const db = await openStore(directory)
    for (let first = 0; first < count; first += GROUP)
      oids.push(...(await addGroup(db, Math.min(GROUP, count - first), first)))
    await db.close()
  }

  const opening: Row[] = []
  for (const { count, directory } of stores) {
    const [ours, level]: [number[], number[]] = [[], []]
    for (let round = 0; round <= opens; round++) {
      const mine = await timed(() => openStore(directory))
      const raw = await timed(() => openLevel(directory))
      if (round > 0) {
        ours.push(mine)
        level.push(raw)
      }
    }
    opening.push({
      measure: `opening, ${count.toLocaleString('en')} objects`,
      unit: 'ms',
      ours: median(ours),
      peers: { level: median(level) },
      ...(count === sizes.at(-1) && {
        target: { of: 'ours / level', value: median(ours) / median(level), atMost: 1.5 },
      }),
    })
  }

  const open = await Promise.all(
    stores.map(async ({ count, directory, oids }) => {
      const db = await openStore(directory)
      const order = shuffled(oids.length)
      return {
        count,
        db,
        connection: db.open(),
        oidAt: (i: number) => oids[order[i % order.length]!]!,
        commits: [] as number[],
        loads: [] as number[],
      }
    }),
  )
  for (let round = 0; round <= 5; round++) {
    for (const { db, connection, oidAt, commits, loads } of open) {
      const change = async (i: number) => {
        ;(connection.get(oidAt(round * calls + i)) as Item).number += 1
        await connection.transaction.commit()
      }
      const fresh = db.open()
      const committed = await latencies(calls / 5, change)
      const loaded = await latencies(calls, i => (fresh.get(oidAt(i * 7 + round)) as Item).number)
      fresh.close()
      if (round === 0) continue
      commits.push(...committed)
      loads.push(...loaded)
    }
  }
  for (const { db, connection } of open) {
    connection.close()
    await db.close()
  }
  const flat = (measure: string, times: number[][], atMost: number | undefined): Row[] =>
    times.map(
      (each, i): Row => ({
        measure: `${measure}, ${sizes[i]!.toLocaleString('en')} objects`,
        unit: 'µs',
        ours: median(each),
        peers: {},
        ...(i === times.length - 1 &&
          atMost !== undefined && {
            target: { of: 'largest / smallest', value: median(each) / median(times[0]!), atMost },
          }),
      }),
    )
  return [
    ...opening,
    ...flat(
      'commit',
      open.map(({ commits }) => commits),
      1.3,
    ),
    ...flat(
      'cold load by oid',
      open.map(({ loads }) => loads),
      undefined,
    ),
  ]
}

/** Milliseconds that opening takes. */
async function timed(open: () => Promise<{ close(): unknown }>): Promise<number> {
  const begun = performance.now()
  const opened = await open()
  const took = performance.now() - begun
  await opened.close()
  return took
}
