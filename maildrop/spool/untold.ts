/**
 * Failures that somebody is still to be told of: `spool/.untold/<id>.<n>`, a copy of the reason (a second link to it), so
 * that nothing that is done to the message meanwhile loses it.
 *
 * The directory is the request: while it is there, whoever gives a message up links the state into it first, once the
 * state is durable. Whoever tells renames an entry to `<id>.<n>~<process>` meanwhile, and removes it when it has been told;
 * an entry of a process that died is told again.
 */
import { createHash } from 'node:crypto'
import { readdirSync, renameSync, rmdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { spoolError, systemCode } from '../errors.ts'
import { formatIdentity, liveness, ownIdentity, parseIdentity } from '../process-identity.ts'
import { linkOrCopy } from './entries.ts'
import { untoldDir } from './layout.ts'
import { isOwnDirectory } from './owner.ts'
import { type MailState, readStateFile, recordedTransactions, statePath } from './state.ts'
import { ensureDirectory, syncDirectory } from './sync.ts'

export interface Untold {
  /** Its name, the same in every process that takes it. */
  readonly name: string
  /** When the failure was written down, in milliseconds since 1970. */
  readonly since: number
  readonly read: () => Promise<MailState | undefined>
  /** Nobody has to be told any more. */
  done(): void
  /** Somebody else, or this process later, has to tell. */
  giveBack(): void
}

/** Milliseconds after which an entry is told again although its process cannot be seen to be dead: much more than telling takes. */
const LEASE = 900_000

/** Asks for failures to be kept. */
export function keepUntold(spool: string): void {
  ensureDirectory(untoldDir(spool))
}

/** Asks for no more of them. @returns the number of those that are left */
export function forgetUntold(spool: string): number {
  try {
    rmdirSync(untoldDir(spool))
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return readdirSync(untoldDir(spool)).length
    if (code !== 'ENOENT') throw spoolError('remove', untoldDir(spool), error)
  }
  return 0
}

/** Writes down, where that is wanted, that somebody has to be told of a failure; its state has to be on disk. */
export async function noteFailure(spool: string, state: MailState): Promise<void> {
  if (!isOwnDirectory(untoldDir(spool))) return
  const path = join(untoldDir(spool), `${shortened(state.id)}.${recordedTransactions(state)}`)
  try {
    linkOrCopy(statePath(spool, state.id), path)
  } catch (error) {
    // It has been noted before; or the message has moved on, by another process that has noted it.
    if (!['EEXIST', 'ENOENT'].includes(systemCode(error) ?? '')) throw spoolError('write', path, error)
  }
  await syncDirectory(untoldDir(spool))
}

/** The same for recipients that the last transaction has failed for, while others are still to be tried. */
export async function noteRefusals(spool: string, state: MailState): Promise<void> {
  const times = state.recipients.map(({ at }) => at ?? '').sort()
  const isNews = state.recipients.some(({ status, at }) => status === 'failed' && at === times.at(-1))
  if (isNews) await noteFailure(spool, state)
}

/**
 * Takes failures that nobody else is telling of at the moment.
 * @param wanted chooses by name
 * @param limit most of them
 */
export function takeUntold(spool: string, wanted: (name: string) => boolean, limit: number): Untold[] {
  const taken: Untold[] = []
  for (const entry of entriesOf(untoldDir(spool))) {
    if (taken.length >= limit) break
    const [name = '', owner] = entry.split('~')
    const path = join(untoldDir(spool), entry)
    if (!wanted(name) || (owner !== undefined && !isLeft(owner, path))) continue
    const found = take(untoldDir(spool), entry, name)
    if (found !== undefined) taken.push(found)
  }
  return taken
}

function entriesOf(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter(name => !name.startsWith('.'))
      .sort()
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw spoolError('read', directory, error)
  }
}

function take(directory: string, entry: string, name: string): Untold | undefined {
  const path = join(directory, `${name}~${formatIdentity(ownIdentity())}`)
  try {
    renameSync(join(directory, entry), path)
    const since = statSync(path).mtimeMs
    return {
      name,
      since,
      read: () => readStateFile(path),
      done: () => unlinkSync(path),
      giveBack: () => renameSync(path, join(directory, name)),
    }
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw spoolError('rename', path, error)
  }
}

/** A rename sets the time of change. */
function isLeft(owner: string, path: string): boolean {
  const identity = parseIdentity(owner)
  if (identity !== undefined && liveness(identity) === 'dead') return true
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && Math.abs(Date.now() - stat.ctimeMs) > LEASE
}

/** Room for the process beside it in a file name. */
function shortened(id: string): string {
  return id.length <= 64 ? id : createHash('sha256').update(id).digest('hex').slice(0, 40)
}
