/** A process that holds all objects of a database, to be measured: holder.ts objects|map DIRECTORY COUNT */
import { Level } from 'level'
import { Packr } from 'msgpackr'
import type { Held } from './memory.ts'
import { keyOf } from './peers.ts'
import { openStore } from './sample.ts'

const [how, directory, count] = process.argv.slice(2) as [string, string, string]

const collected = () => {
  globalThis.gc!()
  return process.memoryUsage()
}

async function objects(): Promise<() => number> {
  const db = await openStore(directory)
  const connection = db.open()
  return () => connection.root.groups.get(0)!.items.reduce((sum, item) => sum + (item.number >= 0 ? 1 : 0), 0)
}

async function map(): Promise<() => number> {
  const level = new Level<Buffer, Buffer>(directory, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const packr = new Packr({ useRecords: false })
  const held = new Map<number, unknown>()
  await level.open()
  return () => {
    for (let oid = 1; held.size < Number(count); oid++) {
      const record = level.getSync(keyOf(oid))!
      const state = 24 + record[23]!
      if (record.toString('latin1', 24, state) === 'BenchItem') held.set(oid, packr.unpack(record.subarray(state)))
    }
    return held.size
  }
}

const load = await (how === 'map' ? map() : objects())
const before = collected().heapUsed
if (load() !== Number(count)) throw new Error('not all objects were found')
const { rss, heapUsed } = collected()
const held: Held = { resident: rss, heap: heapUsed - before }
process.stdout.write(JSON.stringify(held))
process.exit()
