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

/** Lists a spool; messages that move on while it is read may be missing. None if there is no spool yet. */
export async function listSpool(spool: string): Promise<QueuedMail[]> {
  const found: QueuedMail[] = []
  for (const place of places(spool)) {
    const mail = await describe(spool, place)
    if (mail !== undefined) found.push(mail)
  }
  return found
}

/** Numbers of messages by state, without opening any. */
export function countSpools(spools: readonly string[]): Record<QueuedMail['status'], number> {
  const counts = { waiting: 0, active: 0, deferred: 0, failed: 0 }
  for (const spool of spools) for (const { status } of places(spool)) counts[status] += 1
  return counts
}

function* places(spool: string): Generator<Place> {
  for (const owner of names(claimsDir(spool), 'directories')) {
    const directory = join(claimsDir(spool), owner)
    for (const name of names(directory)) yield { status: 'active', directory, name, id: parseClaimName(name).id }
  }
  for (const name of names(spool).filter(canBeMail)) yield { status: 'waiting', directory: spool, name, id: name }
  for (const name of names(deferredDir(spool))) {
    const deferred = parseDeferredName(name)
    if (deferred) yield { status: 'deferred', directory: deferredDir(spool), name, ...deferred }
  }
  const failed = names(failedDir(spool))
  const reasons = new Set(failed.filter(name => name.endsWith('.json')))
  for (const name of failed) {
    const isReason = reasons.has(name) && failed.includes(name.slice(0, -5))
    if (!isReason) yield { status: 'failed', directory: failedDir(spool), name, id: name }
  }
}

async function describe(spool: string, { status, directory, name, id, due }: Place): Promise<QueuedMail | undefined> {
  const path = join(directory, name)
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined || stat.isDirectory()) return undefined
  const known = await (status === 'failed' ? readStateFile(`${path}.json`) : readState(spool, id)).catch(messageOf)
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
