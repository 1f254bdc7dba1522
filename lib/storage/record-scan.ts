/** Going through all records of one state: to look at them, or to copy them. */
import { messageOf, ObjectError } from '../errors.ts'
import type { Oid, Tid } from '../ids.ts'
import { decodeRecord } from '../record.ts'
import { oidOf, PACKED_KEY, range, tidOf } from './keys.ts'
import { entriesIn, failedRead, type Level, type Operation, unreadable, writeBatch } from './level.ts'
import type { SharedSnapshot } from './level-snapshot.ts'
import { databaseId } from './meta.ts'
import type { RecordCounts, RecordEntry } from './storage.ts'
import { decodeTransaction } from './transaction-record.ts'

/**
 * The current records in the order of oids, then the earlier ones.
 * @param fixed the state that is gone through
 * @param seen the one that is shown: that one, or an earlier one
 * @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED
 */
export async function* records(level: Level, fixed: SharedSnapshot, seen: SharedSnapshot): AsyncGenerator<RecordEntry> {
  /** The current revisions of objects that were written since. */
  const followed = new Map<Oid, Tid>()
  for await (const [key, value] of entriesIn(level, { ...fixed.reading, ...range(Buffer.from('o')) })) {
    const entry = recordEntry(key, value)
    if (entry.record === undefined || entry.record.serial <= seen.tid) yield entry
    else {
      const record = seen.latest(entry.oid)
      if (record === undefined) continue
      followed.set(entry.oid, record.serial)
      yield { ...entry, record }
    }
  }
  for await (const [key, value] of entriesIn(level, { ...fixed.reading, ...range(Buffer.from('r')) }))
    if (tidOf(key) <= seen.tid && tidOf(key) !== followed.get(oidOf(key))) yield recordEntry(key, value)
}

/** How many there are; looks at keys only. @throws {ObjectError} DATABASE_CORRUPT, DATABASE_CLOSED */
export async function countRecords(level: Level): Promise<RecordCounts> {
  return {
    objects: await countKeys(level, 'o'),
    revisions: await countKeys(level, 'r'),
    transactions: await countKeys(level, 't'),
  }
}

async function countKeys(level: Level, kind: string): Promise<number> {
  let count = 0
  const keys = level.keys({ keyEncoding: 'buffer', ...range(Buffer.from(kind)) })
  try {
    for (let some = await keys.nextv(1000); some.length > 0; some = await keys.nextv(1000)) count += some.length
  } catch (error) {
    throw unreadable(error)
  } finally {
    await keys.close()
  }
  return count
}

/**
 * Copies records and transactions into an empty LevelDB, under a new id. Each is checked on the way.
 * @throws {ObjectError} DATABASE_CORRUPT; what writing throws
 */
export async function copyRecords(
  level: Level,
  snapshot: SharedSnapshot,
  to: Level,
  progress: ((records: number) => void) | undefined,
): Promise<{ tid: Tid; records: number }> {
  let records = 0
  let operations: Operation[] = []
  const flush = async (least: number) => {
    if (operations.length < least) return
    await writeBatch(to, operations, { sync: least === 0 })
    operations = []
    progress?.(records)
  }
  await databaseId(to, 'the copy', true, false)
  const packed = await level.get(PACKED_KEY, snapshot.reading).catch(failedRead)
  if (packed !== undefined) operations.push([PACKED_KEY, packed])
  for (const kind of ['o', 'r', 't'])
    for await (const [key, value] of entriesIn(level, { ...snapshot.reading, ...range(Buffer.from(kind)) })) {
      if (kind === 't') decodeTransaction(key, value)
      else {
        const { record, damage } = recordEntry(key, value)
        if (record === undefined) throw new ObjectError('DATABASE_CORRUPT', damage)
        records += 1
      }
      operations.push([key, value])
      await flush(1000)
    }
  await flush(0)
  return { tid: snapshot.tid, records }
}

function recordEntry(key: Buffer, value: Buffer): RecordEntry {
  const oid = oidOf(key)
  const current = key[0] === 0x6f
  try {
    const record = decodeRecord(oid, value)
    if (current || record.serial === tidOf(key)) return { oid, current, record, damage: '' }
    return {
      oid,
      current,
      record: undefined,
      damage: `object ${oid} has revision ${record.serial} in the place of ${tidOf(key)}`,
    }
  } catch (error) {
    return { oid, current, record: undefined, damage: messageOf(error) }
  }
}
