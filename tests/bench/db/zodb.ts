/**
 * What Python's ZODB was measured at, line by line, beside the same here: objects of some 150 bytes, FileStorage with fsync, on a machine with 2
 * cores. It was another machine, so the lines that wait for the disk say more about the disks than about the databases.
 */
import { randomBytes } from 'node:crypto'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import { BTree, type Connection, Persistent, registerClass } from 'maildrophost/lib'
import { median } from '../measure.ts'
import type { Row } from '../report.ts'
import { openStore, type Store } from './sample.ts'
import type { Setting } from './setting.ts'

/** Text that cannot be compressed by much. */
const NOISE = randomBytes(48_000).toString('base64')

/** An object with a record of some 150 bytes. */
class Small extends Persistent {
  declare number: number
  declare text: string

  constructor(number: number) {
    super()
    this.number = number
    this.text = NOISE.slice((number * 91) % 60_000).slice(0, 90)
  }
}
registerClass('BenchSmall', Small)

export async function zodb({ quick, newDirectory }: Setting): Promise<Row[]> {
  const [count, small] = quick ? [10_000, 100] : [100_000, 1000]
  const directory = newDirectory()
  const db = await openStore(directory)
  const rates: Record<string, number> = {}

  /** Does something so often a second: the median of three times. */
  const rate = async (name: string, times: number, run: (round: number) => unknown) => {
    const each: number[] = []
    for (let round = 0; round < 3; round++) {
      const begun = performance.now()
      await run(round)
      each.push((times * 1000) / (performance.now() - begun))
    }
    rates[name] = median(each)
  }
  const items = await db.transact(store => {
    const tree = new BTree<unknown>()
    ;(store as Store & { small: unknown }).small = tree
    ;(store._p_jar as Connection).add(tree)
    return tree._p_oid as number
  })
  const itemsOf = (store: Store) => (store._p_jar as Connection).get(items) as BTree<Small | number>

  const all: number[] = []
  await rate('bulk', count / 3, async round => {
    for (let first = 0; first < count / 3; first += 10_000)
      all.push(
        ...(await db.transact(store => {
          const tree = itemsOf(store)
          const connection = store._p_jar as Connection
          return Array.from({ length: Math.min(10_000, Math.ceil(count / 3) - first) }, (_, i) => {
            const item = new Small(i)
            tree.set(round * count + first + i, item)
            return connection.add(item)
          })
        })),
      )
  })
  await rate('commits', small, async () => {
    for (let i = 0; i < small; i++)
      await db.transact(store => {
        ;((store._p_jar as Connection).get(all[i]!) as Small).number += 1
      })
  })
  await rate('inserts', small, async round => {
    for (let i = 0; i < small; i++) await db.transact(store => void itemsOf(store).set(-1 - round * small - i, i))
  })
  let loaded: Small[] = []
  await rate('loads', all.length, () => {
    const connection = db.open()
    loaded = all.map(oid => connection.get(oid) as Small)
    if (loaded.reduce((sum, item) => sum + item.text.length, 0) !== 90 * all.length) throw new Error('not all was read')
    connection.close()
  })
  const warm = loaded.slice(0, 1000)
  await rate('reads', 1_000_000, () => {
    let sum = 0
    for (let turn = 0; turn < 1000; turn++) for (const item of warm) sum += item.number
    return sum
  })
  const begun = performance.now()
  await db.pack()
  const packed = (performance.now() - begun) / 1000
  await db.close()
  const objects = all.length
  const line = (measure: string, unit: string, ours: number, theirs: number): Row => ({
    measure,
    unit,
    ours,
    peers: { 'ZODB elsewhere': theirs },
  })
  return [
    line('commits of one object', '/s', rates.commits!, 4750),
    line('inserts into a BTree, one in a commit', '/s', rates.inserts!, 3143),
    line('new objects, 10,000 in a commit', '/s', rates.bulk!, 90_600),
    line('cold loads', '/s', rates.loads!, 86_000),
    line('warm attribute reads', 'million/s', rates.reads! / 1e6, 20),
    line('pack of 100,000 live objects', 's', (packed * 100_000) / objects, 1.5),
    line('on disk, after the pack', 'bytes/object', bytesIn(directory) / objects, 215),
  ]
}

function bytesIn(directory: string): number {
  return readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).size, 0)
}
