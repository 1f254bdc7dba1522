/**
 * What is in a spool: every message with its state, the same whether or not a daemon runs.
 */
import { closeSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, spoolError, systemCode } from '../errors.ts'
import { parseClaimName } from './claim.ts'
import { inspect } from './inspect.ts'
import { canBeMail, claimsDir, deferredDir, failedDir, parseDeferredName } from './layout.ts'
import { type MailState, newState, readState, readStateFile } from './state.ts'

export interface QueuedMail {
  readonly spool: string
  readonly id: string
  readonly status: 'waiting' | 'active' | 'deferred' | 'failed'
  readonly path: string
  /** Bytes of the mail file. */
  readonly size: number
  /** When it was dropped, ISO 8601. */
  readonly arrived: string
  readonly attempts: number
  /** When it is tried again, ISO 8601; only if deferred. */
  readonly next: string | undefined
  /** Undefined if the file is not (yet) mail. */
  readonly from: string | undefined
  readonly recipients: MailState['recipients']
  /** Why the file as a whole was given up, or is not mail yet. */
  readonly problem: string | undefined
}

interface Place {
  readonly status: QueuedMail['status']
  readonly directory: string
  readonly name: string
  readonly id: string
  readonly due?: number
}

/** Times a spool is read again because a message moved on meanwhile. */
const ROUNDS = 3

/** Lists a spool; a message that moves on while it is read is listed as it was. None if there is no spool yet. */
export async function listSpool(spool: string): Promise<QueuedMail[]> {
  const found = new Map<string, QueuedMail>()
  for (let round = 0, again = true; again && round < ROUNDS; round++) {
    again = false
    for (const [key, place] of places(spool)) {
      const mail = found.has(key) ? undefined : await describe(spool, place)
      if (mail !== undefined) found.set(key, mail)
      else again ||= !found.has(key)
    }
  }
  return [...found.values()].sort((a, b) => ORDER.indexOf(a.status) - ORDER.indexOf(b.status))
}

/** Numbers of messages by state, without opening any. */
export function countSpools(spools: readonly string[]): Record<QueuedMail['status'], number> {
  const counts = { waiting: 0, active: 0, deferred: 0, failed: 0 }
  for (const spool of spools) for (const { status } of places(spool).values()) counts[status] += 1
  return counts
}

const ORDER: QueuedMail['status'][] = ['active', 'waiting', 'deferred', 'failed']

/** Where each message is, read in the order in which messages move, so that none is missed. */
function places(spool: string): Map<string, Place> {
  const found = new Map<string, Place>()
  for (const name of names(spool).filter(canBeMail))
    found.set(name, { status: 'waiting', directory: spool, name, id: name })
  for (const place of deferredPlaces(spool)) found.set(place.id, place)
  for (const owner of names(claimsDir(spool), 'directories')) {
    const directory = join(claimsDir(spool), owner)
    for (const name of names(directory)) {
      const { id } = parseClaimName(name)
      found.set(id, { status: 'active', directory, name, id })
    }
  }
  for (const place of deferredPlaces(spool)) found.set(place.id, place)
  const failed = names(failedDir(spool))
  const there = new Set(failed)
  for (const name of failed) {
    const isReason = name.endsWith('.json') && there.has(name.slice(0, -5))
    if (!isReason) found.set(`failed/${name}`, { status: 'failed', directory: failedDir(spool), name, id: name })
  }
  return found
}

function deferredPlaces(spool: string): Place[] {
  return names(deferredDir(spool)).flatMap(name => {
    const deferred = parseDeferredName(name)
    return deferred ? [{ status: 'deferred', directory: deferredDir(spool), name, ...deferred } as const] : []
  })
}

async function describe(spool: string, { status, directory, name, id, due }: Place): Promise<QueuedMail | undefined> {
  const path = join(directory, name)
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined || stat.isDirectory()) return undefined
  const known = await knownState(spool, status === 'failed' ? `${path}.json` : undefined, id).catch(messageOf)
  const read = typeof known === 'object' ? { state: known } : readMail(directory, name, id)
  const { state } = read
  const damage = typeof known === 'string' ? known : undefined
  return {
    spool,
    id,
    status,
    path,
    size: stat.size,
    arrived: state?.arrived ?? stat.mtime.toISOString(),
    attempts: state?.attempts ?? 0,
    next: due === undefined ? undefined : new Date(due).toISOString(),
    from: state?.from,
    recipients: state?.recipients ?? [],
    problem: damage ?? state?.problem ?? read.problem,
  }
}

/** The reason beside a failed message, or what is still among the states. */
async function knownState(spool: string, reason: string | undefined, id: string): Promise<MailState | undefined> {
  return (reason === undefined ? undefined : await readStateFile(reason)) ?? (await readState(spool, id))
}

function readMail(directory: string, name: string, id: string): { state?: MailState; problem?: string } {
  const found = inspect(directory, name, true)
  switch (found.kind) {
    case 'ready':
      closeSync(found.mail.fd)
      return { state: newState({ ...found.mail, id }) }
    case 'locked':
      return { problem: `${name}.lck stands beside it` }
    case 'unsettled':
      return { problem: found.problem ?? 'it is still being written' }
    case 'unfit':
      return { problem: found.problem }
    case 'nothing':
      return {}
  }
}

function names(directory: string, which: 'files' | 'directories' = 'files'): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter(entry => entry.isDirectory() === (which === 'directories'))
      .map(entry => entry.name)
      .sort()
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw spoolError('read', directory, error)
  }
}
