/** What a conflict costs: two transactions change one object, the second runs again. The backoff between its attempts is part of the cost. */
import { latencies, median } from '../measure.ts'
import type { Row } from '../report.ts'
import { addGroup, openStore } from './sample.ts'
import type { Setting } from './setting.ts'

export async function conflicts({ quick, newDirectory }: Setting): Promise<Row[]> {
  const count = quick ? 100 : 500
  const db = await openStore(newDirectory())
  await addGroup(db, 2)
  const change = (number: number) =>
    db.transact(store => {
      store.groups.get(0)!.items[number]!.number += 1
    })
  const nested = (other: number) => async () => {
    let attempts = 0
    await db.transact(async store => {
      store.groups.get(0)!.items[0]!.number += 1
      if (attempts++ === 0) await change(other)
    })
    return attempts
  }
  for (let i = 0; i < count / 5; i++) {
    if ((await nested(0)()) !== 2) throw new Error('there was no conflict')
    if ((await nested(1)()) !== 1) throw new Error('there was a conflict')
  }
  const without: number[] = []
  const conflicting: number[] = []
  for (let round = 0; round < 5; round++) {
    without.push(...(await latencies(count / 5, nested(1))))
    conflicting.push(...(await latencies(count / 5, nested(0))))
  }
  await db.close()
  return [
    {
      measure: 'two commits that conflict, one tried again',
      unit: 'µs',
      ours: median(conflicting),
      peers: { 'without a conflict': median(without) },
    },
  ]
}
