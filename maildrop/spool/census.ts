/**
 * How much is in a spool, and for how long: told by names alone, with a few files looked at, so that 100,000 messages cost
 * milliseconds.
 */
import { lstatSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemCode } from '../errors.ts'
import { parseClaimName } from './claim.ts'
import { mailIdTime } from './id.ts'
import { canBeMail, claimsDir, deferredDir, failedDir, holdDir, parseDeferredName } from './layout.ts'
import type { QueuedMail } from './listing.ts'

export interface Census {
  /** Messages by state; one that waits for its time counts as waiting until a daemon has looked at it. */
  readonly counts: Record<QueuedMail['status'], number>
  /** When the oldest of those that are to be sent came, in milliseconds since 1970; undefined if there is none. */
  readonly oldest: number | undefined
}

/** Dropped files whose names tell no time, and which are therefore looked at. */
const LOOKED_AT = 50

export async function census(spools: readonly string[]): Promise<Census> {
  const counts = { active: 0, waiting: 0, scheduled: 0, deferred: 0, held: 0, failed: 0 }
  let oldest = Number.POSITIVE_INFINITY
  const note = (id: string): boolean => {
    const time = mailIdTime(id)
    if (time === 0) return false
    oldest = Math.min(oldest, time)
    return true
  }
  for (const spool of spools) {
    const unknown: string[] = []
    for (const name of await namesIn(spool)) {
      if (!canBeMail(name)) continue
      counts.waiting += 1
      if (!note(name) && unknown.length < LOOKED_AT) unknown.push(name)
    }
    for (const name of unknown) {
      const stat = lstatSync(join(spool, name), { throwIfNoEntry: false })
      if (stat !== undefined) oldest = Math.min(oldest, stat.ctimeMs)
    }
    for (const name of await namesIn(deferredDir(spool))) {
      const deferred = parseDeferredName(name)
      if (deferred === undefined) continue
      counts[deferred.scheduled ? 'scheduled' : 'deferred'] += 1
      if (!deferred.scheduled) note(deferred.id)
    }
    for (const owner of await namesIn(claimsDir(spool))) {
      for (const name of await namesIn(join(claimsDir(spool), owner))) {
        // The draft of a state.
        if (name.startsWith('.')) continue
        counts.active += 1
        note(parseClaimName(name).id)
      }
    }
    counts.held += (await namesIn(holdDir(spool))).length
    counts.failed += (await namesIn(failedDir(spool))).filter(name => !name.endsWith('.json')).length
  }
  return { counts, oldest: Number.isFinite(oldest) ? oldest : undefined }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw error
  }
}
