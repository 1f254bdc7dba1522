/** How fast a pack is, and what commits notice of it. Half of the objects have earlier revisions, a quarter is garbage. */
import { performance } from 'node:perf_hooks'
import type { Connection } from 'maildrophost/lib'
import { median, quantile } from '../measure.ts'
import type { Row } from '../report.ts'
import { addGroup, type Item, openStore } from './sample.ts'
import type { Setting } from './setting.ts'

export async function pack({ quick, newDirectory }: Setting): Promise<Row[]> {
  const count = quick ? 8000 : 80_000
  const db = await openStore(newDirectory())
  const quarter = count / 4
  const groups: number[][] = []
  for (let i = 0; i < 4; i++) groups.push(await addGroup(db, quarter, i * quarter))
  for (const group of groups.slice(0, 2))
    await db.transact(store => {
      const connection = store._p_jar as Connection
      for (const oid of group) (connection.get(oid) as Item).number += 1
    })
  await db.transact(store => void store.groups.delete(3 * quarter))

  const connection = db.open()
  const item = connection.get(groups[2]![0]!) as Item
  const commit = async () => {
    const begun = performance.now()
    item.number += 1
    await connection.transaction.commit()
    return (performance.now() - begun) * 1000
  }
  const quiet: number[] = []
  for (let i = 0; i < 500; i++) quiet.push(await commit())

  const meanwhile: number[] = []
  let packing = true
  const begun = performance.now()
  const packed = db.pack().finally(() => {
    packing = false
  })
  while (packing) meanwhile.push(await commit())
  const result = await packed
  const seconds = (performance.now() - begun) / 1000
  if (result.objects < quarter) throw new Error(`the pack removed ${result.objects} of ${quarter} objects`)
  connection.close()
  await db.close()
  return [
    { measure: 'pack', unit: 'objects/s', ours: count / seconds, peers: {} },
    {
      measure: 'commit during a pack, median',
      unit: 'µs',
      ours: median(meanwhile),
      peers: { 'without a pack': median(quiet) },
    },
    {
      measure: 'commit during a pack, 99th of 100',
      unit: 'µs',
      ours: quantile(meanwhile, 0.99),
      peers: { 'without a pack': quantile(quiet, 0.99) },
    },
  ]
}
