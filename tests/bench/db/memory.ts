/** Memory of loaded objects, each way in a process of its own: those of a connection, and the same ones parsed into a Map. */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { LOADER } from '../../support/children.ts'
import { median } from '../measure.ts'
import type { Row } from '../report.ts'
import { addGroup, openStore } from './sample.ts'
import type { Setting } from './setting.ts'

const HOLDER = fileURLToPath(new URL('holder.ts', import.meta.url))

export interface Held {
  /** Bytes of the process's resident memory. */
  readonly resident: number
  /** Bytes of the heap that the objects added. */
  readonly heap: number
}

export async function memory({ quick, newDirectory }: Setting): Promise<Row[]> {
  const [count, rounds] = quick ? [20_000, 1] : [100_000, 3]
  const directory = newDirectory()
  const db = await openStore(directory)
  await addGroup(db, count)
  await db.close()

  const hold = (how: string): Held =>
    JSON.parse(
      execFileSync(process.execPath, ['--expose-gc', LOADER, HOLDER, how, directory, String(count)], {
        encoding: 'utf8',
      }),
    )
  const objects: Held[] = []
  const map: Held[] = []
  for (let round = 0; round < rounds; round++) {
    objects.push(hold('objects'))
    map.push(hold('map'))
  }
  const middle = (held: Held[], key: keyof Held) => median(held.map(each => each[key]))
  const mebibytes = (held: Held[]) => middle(held, 'resident') / 2 ** 20
  return [
    {
      measure: `resident memory, ${count.toLocaleString('en')} loaded objects`,
      unit: 'MiB',
      ours: mebibytes(objects),
      peers: { Map: mebibytes(map), ...(!quick && { 'ZODB elsewhere': 83 }) },
      target: { of: 'ours / Map', value: mebibytes(objects) / mebibytes(map), atMost: 1.5 },
    },
    {
      measure: 'heap of a loaded object',
      unit: 'bytes',
      ours: middle(objects, 'heap') / count,
      peers: { Map: middle(map, 'heap') / count },
    },
  ]
}
