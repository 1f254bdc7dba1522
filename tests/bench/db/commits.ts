/** Small commits: one object of 300 bytes changed in each, one after the other and 64 at a time. */
import type { Connection } from 'maildrophost/lib'
import { perSecond } from '../measure.ts'
import type { Row } from '../report.ts'
import type { Peer } from './peers.ts'
import { addGroup, type Item, openStore, record } from './sample.ts'
import type { Setting } from './setting.ts'

const CONCURRENT = 64

export async function commits({ quick, peers, newDirectory }: Setting): Promise<Row[]> {
  const [count, rounds] = quick ? [200, 3] : [1000, 7]
  const db = await openStore(newDirectory())
  const oids = await addGroup(db, CONCURRENT)
  const others = await peers.open(newDirectory)

  const change = (number: number) =>
    db.transact(store => {
      const item = (store._p_jar as Connection).get(oids[number]!) as Item
      item.number += 1
    })
  const serial = async (write: (number: number) => unknown) => {
    for (let i = 0; i < count; i++) await write(i % CONCURRENT)
    return count
  }
  const together = async (write: (number: number) => unknown) => {
    for (let i = 0; i < count * 4; i += CONCURRENT)
      await Promise.all(Array.from({ length: CONCURRENT }, (_, number) => write(number)))
    return Math.ceil((count * 4) / CONCURRENT) * CONCURRENT
  }
  const put = (peer: Peer) => (number: number) => peer.put(number, record())
  // what a commit writes: the object's record, the one it replaces, and the transaction's
  const rows = [record(), record(), Buffer.alloc(60)]
  const sameRows = (number: number) => others[0]!.putAll(CONCURRENT + number * rows.length, rows)
  const { ours: one, ...oneOthers } = await perSecond(
    [
      { name: 'ours', run: () => serial(change) },
      { name: 'level, 3 rows', run: () => serial(sameRows) },
      ...others.map(peer => ({ name: peer.name, run: () => serial(put(peer)) })),
    ],
    rounds,
  )
  const { ours: many, ...manyOthers } = await perSecond(
    [
      { name: 'ours', run: () => together(change) },
      ...others.map(peer => ({ name: peer.name, run: () => together(put(peer)) })),
    ],
    rounds,
  )
  for (const each of [db, ...others]) await each.close()
  return [
    {
      measure: 'commits of one object',
      unit: '/s',
      ours: one!,
      peers: oneOthers,
      target: { of: 'ours / level', value: one! / oneOthers.level!, atLeast: 0.85 },
    },
    {
      measure: `the same, ${CONCURRENT} at a time`,
      unit: '/s',
      ours: many!,
      peers: manyOthers,
      target: { of: 'ours / ours one by one', value: many! / one!, atLeast: 5 },
    },
  ]
}
