/** States that are read without a snapshot of LevelDB's, and records kept at hand: they never show a reader what its state does not. */
import assert from 'node:assert/strict'
import t from 'tap'
import type { Level } from '../../lib/storage/level.ts'
import { LevelStorage } from '../../lib/storage/level-storage.ts'
import type { Change, StorageSnapshot } from '../../lib/storage/storage.ts'
import { newLevel } from '../support/database.ts'
import { fc } from '../support/properties.ts'

type Step =
  | { do: 'write'; objects: number[]; large: boolean; wait: boolean; fail: boolean }
  | { do: 'look' }
  | { do: 'leave'; reader: number }
  | { do: 'read'; reader: number; object: number }
  | { do: 'scan' }
  | { do: 'pack' }

// places in the table are shared by objects 512 apart
const OBJECTS = [2, 514, 3]
const object = fc.nat(OBJECTS.length - 1)
const reader = fc.nat(2)
const write = fc.record({
  do: fc.constant('write' as const),
  objects: fc.uniqueArray(object, { minLength: 1, maxLength: 2 }),
  large: fc.boolean(),
  wait: fc.boolean(),
  fail: fc.integer({ min: 0, max: 19 }).map(number => number === 0),
})
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: write },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('look' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), reader }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('read' as const), reader, object }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('scan' as const, 'pack' as const) }) },
)

/** Has the next batch of a level fail. */
function failOnce(level: Level): void {
  const batch = level.batch.bind(level)
  level.batch = (() => {
    level.batch = batch
    const failing = batch()
    failing.write = async () => {
      await failing.close()
      throw new Error('the disk is full')
    }
    return failing
  }) as typeof level.batch
}

t.test(
  'property: every reader sees its snapshot, whatever is written, fails or takes the place of another',
  async t => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 40, maxLength: 80, size: 'max' }), async steps => {
        const level = newLevel()
        let storage = await LevelStorage.open(level, 'memory', { create: true })
        /** What each durable transaction wrote, by tid. */
        const written: { tid: number; values: Map<number, string> }[] = []
        const readers: StorageSnapshot[] = []
        const accepted: Promise<unknown>[] = []
        let count = 0
        let packed: Promise<unknown> | undefined
        let failed = false
        /** After a failed write a storage takes nothing more. */
        const openAgain = async () => {
          await Promise.all(accepted)
          await packed
          for (const each of readers.splice(0)) each.release()
          storage = await LevelStorage.open(level, 'memory', { create: true })
        }
        /** What the objects were as of a transaction. */
        const asOf = (last: number) =>
          new Map(
            written
              .toSorted((a, b) => a.tid - b.tid)
              .flatMap(({ tid, values }) => (tid <= last ? [...values].sort() : [])),
          )
        for (const each of steps) {
          if (each.do === 'write') {
            count += 1
            const values = new Map(
              each.objects.map(index => [OBJECTS[index]!, `${count} ${'x'.repeat(each.large ? 5000 : 5)}`]),
            )
            if (failed) await openAgain()
            failed = each.fail
            if (each.fail) failOnce(level)
            const latest = storage.snapshot()
            const changes = Array.from(
              values,
              ([oid, text]): Change => ({
                oid,
                serial: latest.load(oid)?.serial ?? 0,
                record: { className: 'Thing', version: 1, state: Buffer.from(text) },
                references: [],
              }),
            )
            latest.release()
            const merge = ({ record, references }: Change) => ({ record, references })
            const one = storage
              .commit({ changes, outbox: new Map(), user: '', note: '', extension: {}, reads: new Map(), merge })
              .then(
                ({ tid }) => void written.push({ tid, values }),
                () => undefined,
              )
            accepted.push(one)
            if (each.wait) await one
          } else if (each.do === 'look') readers.push(storage.snapshot())
          else if (each.do === 'leave') readers.splice(each.reader, 1)[0]?.release()
          else if (each.do === 'scan') {
            const { lastTid } = storage
            const found = new Map<number, string>()
            for await (const { oid, current, record } of storage.records())
              if (current) found.set(oid, Buffer.from(record!.state).toString())
            assert.deepEqual([...found].sort(), [...asOf(lastTid)].sort(), `all as of ${lastTid}`)
          } else if (each.do === 'pack') {
            await packed
            // a write that fails may be the pack's
            packed = storage.pack({ before: storage.lastTid, gc: false }).catch(() => undefined)
          } else {
            const snapshot = readers[each.reader]
            if (snapshot === undefined) continue
            const oid = OBJECTS[each.object]!
            const found = snapshot.load(oid)
            if (found?.state.toString() !== asOf(snapshot.tid).get(oid))
              throw new Error(`object ${oid} as of ${snapshot.tid}`)
          }
        }
        await Promise.all(accepted)
        await packed
        for (const each of readers) each.release()
        await storage.close()
      }),
      { numRuns: 120 },
    )
    t.pass()
  },
)
