/**
 * Bringing all stored objects up to the registered versions of their classes, and to their present names.
 *
 * Objects are upgraded when they are loaded, in any case; this does it for all of them at once, some hundred in a transaction, so that old `upgrade`
 * functions and aliases can be dropped afterwards; views of the past need them until the next pack. It may be interrupted and run again.
 */

import { cellOf } from './cell.ts'
import type { Connection } from './connection.ts'
import type { Database } from './database.ts'
import { ObjectError } from './errors.ts'
import type { Oid } from './ids.ts'
import type { Persistent } from './persistent.ts'
import { unpickle } from './pickle.ts'
import { isGone, type RecordBody } from './record.ts'
import { classNamed } from './registry.ts'
import type { Storage } from './storage/storage.ts'

const BATCH = 500

export interface UpgradeOptions {
  /** Kept with each of the transactions. */
  readonly user?: string
  /** Kept with each of the transactions. Default 'upgrade of classes'. */
  readonly note?: string
  /** Told how many objects were looked at. If it throws, the rest stays as it is. */
  readonly progress?: (done: number) => void
}

/** @returns how many objects were written anew */
export async function upgradeAll<Root extends Persistent>(
  database: Database<Root>,
  storage: Storage,
  { user = '', note = '', progress }: UpgradeOptions,
): Promise<number> {
  let upgraded = 0
  let looked = 0
  let batch: Oid[] = []
  const rewrite = async () => {
    upgraded += await database.transact(
      root => {
        const connection = root._p_jar as Connection
        // some may have been removed meanwhile
        const there = batch.filter(oid => connection.seen(oid) !== undefined)
        for (const oid of there) cellOf(connection.get(oid))?.change()
        return there.length
      },
      { user, note: note || 'upgrade of classes', attempts: 10 },
    )
    batch = []
  }
  for await (const { oid, current, record, damage } of storage.records()) {
    if (!current) break
    progress?.(++looked)
    if (record === undefined) throw new ObjectError('DATABASE_CORRUPT', damage)
    if (isOutdated(record)) batch.push(oid)
    if (batch.length >= BATCH) await rewrite()
  }
  if (batch.length > 0) await rewrite()
  return upgraded
}

function isOutdated(record: RecordBody): boolean {
  if (isGone(record)) return false
  const entry = classNamed(record.className)
  if (entry === undefined) return false
  if (entry.name !== record.className || entry.version > record.version) return true
  let renamed = false
  unpickle(record.state, ({ className }) => {
    const other = classNamed(className)
    renamed ||= other !== undefined && other.name !== className
  })
  return renamed
}
