/** Cold loads: every object is read for the first time by its connection; the peers read the same attributes and decode them. */
import type { Connection } from 'maildrophost/lib'
import { Packr } from 'msgpackr'
import { perSecond, shuffled } from '../measure.ts'
import type { Row } from '../report.ts'
import { type Attributes, addGroup, attributes, type Item, openStore, type Store } from './sample.ts'
import type { Setting } from './setting.ts'

const packr = new Packr({ useRecords: false })

export async function loads({ quick, peers, newDirectory }: Setting): Promise<Row[]> {
  const [count, rounds] = quick ? [5000, 3] : [50_000, 7]
  const db = await openStore(newDirectory())
  const oids = await addGroup(db, count)
  const others = await peers.open(newDirectory)
  for (const peer of others)
    await peer.putAll(
      0,
      Array.from({ length: count }, (_, number) => packr.pack(attributes(number))),
    )

  let connection: Connection<Store> | undefined
  const prepare = () => {
    connection?.close()
    connection = db.open()
  }
  const inOrder = Array.from({ length: count }, (_, i) => i)
  const randomly = shuffled(count)
  const check = (sum: number) => {
    if (sum !== (count * (count - 1)) / 2) throw new Error(`the numbers read add up to ${sum}`)
    return count
  }
  const traverse = () => {
    let sum = 0
    for (const item of connection!.root.groups.get(0)!.items) sum += item.number
    return check(sum)
  }
  const byOid = () => {
    let sum = 0
    for (const number of randomly) sum += (connection!.get(oids[number]!) as Item).number
    return check(sum)
  }
  const readers = (order: number[]) =>
    others.map(({ name, get }) => ({
      name,
      run() {
        let sum = 0
        for (const number of order) sum += (packr.unpack(get(number)!) as Attributes).number
        return check(sum)
      },
    }))

  const ordered = await perSecond([{ name: 'ours', prepare, run: traverse }, ...readers(inOrder)], rounds)
  const random = await perSecond([{ name: 'ours', prepare, run: byOid }, ...readers(randomly)], rounds)
  connection!.close()
  for (const each of [db, ...others]) await each.close()
  const { ours, ...orderedOthers } = ordered
  const { ours: oursRandom, ...randomOthers } = random
  return [
    {
      measure: 'cold loads by traversal',
      unit: '/s',
      ours: ours!,
      peers: orderedOthers,
      target: { of: 'ours / level', value: ours! / orderedOthers.level!, atLeast: 0.5 },
    },
    { measure: 'cold loads by oid, at random', unit: '/s', ours: oursRandom!, peers: randomOthers },
  ]
}
