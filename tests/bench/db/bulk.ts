/** Many new objects in one commit. */
import { perSecond } from '../measure.ts'
import type { Row } from '../report.ts'
import { addGroup, openStore, record } from './sample.ts'
import type { Setting } from './setting.ts'

export async function bulk({ quick, peers, newDirectory }: Setting): Promise<Row[]> {
  const total = quick ? 10_000 : 20_000
  const rows: Row[] = []
  for (const size of [100, 1000, 10_000]) {
    const db = await openStore(newDirectory())
    const others = await peers.open(newDirectory)
    const values = Array.from({ length: size }, record)
    const repeated = async (write: (first: number) => unknown) => {
      for (let i = 0; i < total; i += size) await write((first += size))
      return total
    }
    let first = 0
    const { ours, ...peerRates } = await perSecond(
      [
        { name: 'ours', run: () => repeated(first => addGroup(db, size, first)) },
        ...others.map(peer => ({ name: peer.name, run: () => repeated(first => peer.putAll(first, values)) })),
      ],
      quick ? 3 : 7,
    )
    for (const each of [db, ...others]) await each.close()
    rows.push({
      measure: `new objects, ${size.toLocaleString('en')} in a commit`,
      unit: '/s',
      ours: ours!,
      peers: peerRates,
      ...(size === 10_000 && { target: { of: 'ours / level', value: ours! / peerRates.level!, atLeast: 0.4 } }),
    })
  }
  return rows
}
