/**
 * Taking back what daemons had claimed that are dead, or stand still.
 *
 * A daemon whose process can be seen is dead when it no longer runs. Any other one holds a *lease*: it touches its claim
 * directory again and again, and is given up when we ourselves have watched the time stamp not change for as long as the
 * lease is. Only changes count, and our own monotonic clock, so it does not matter what any clock says; and time in which
 * we stood still as well (both may have been suspended) counts for little. A daemon that wakes up later finds its directory
 * gone (`claim.ts`). Of several daemons that take back at the same time, all goes to the one whose rename comes first.
 */
import { closeSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { discardNotice, noticeStem, releaseNotices, stemOf } from '../delivery/notify.ts'
import type { Event } from '../delivery/outcome.ts'
import { moveToDeferred, moveToFailed, moveToHold, record } from '../delivery/record.ts'
import { disposition, heldAsUnknown, outcomesOf, stateAfter } from '../delivery/settle.ts'
import { MaildropError, messageOf } from '../errors.ts'
import { liveness } from '../process-identity.ts'
import {
  type Claim,
  type Claims,
  claimNames,
  holdsClaim,
  listClaims,
  moveClaim,
  parseClaimName,
  parseOwner,
  removeClaim,
  removeDrafts,
  removeIfEmpty,
  takeOver,
} from '../spool/claim.ts'
import { namesIn } from '../spool/entries.ts'
import { inspect } from '../spool/inspect.ts'
import {
  claimsDir,
  deferredDir,
  failedDir,
  heldDir,
  holdDir,
  parseDeferredName,
  reasonPath,
  stateDir,
} from '../spool/layout.ts'
import {
  type MailState,
  newState,
  readState,
  readStateFile,
  recordedTransactions,
  removeState,
  statePath,
  unfitState,
  waitingRecipients,
  writeState,
} from '../spool/state.ts'
import { noteFailure } from '../spool/untold.ts'
import { daemonStep } from '../steps.ts'
import type { Log } from './log.ts'

export interface Recovery {
  /** Takes back the claims of daemons that are dead or stand still; returns how many. To be called again and again. */
  takeBack(): Promise<number>
}

/**
 * @param own our own claims, which are left alone
 * @param lease milliseconds without a sign of life after which a daemon is given up
 * @param asks whether what may have been delivered is put on hold instead of being sent again
 */
export function openRecovery(
  spool: string,
  own: Pick<Claims, 'owner'>,
  log: Log,
  lease: number,
  asks: () => boolean,
): Recovery {
  const watched = new Map<string, { readonly stamp: number; quiet: number; looked: number }>()
  /** Directories that we have taken and could not empty yet, and whose they were. */
  const taken = new Map<string, string>()

  const isGivenUp = (owner: string): boolean => {
    const identity = parseOwner(owner)
    if (identity !== undefined && liveness(identity) === 'dead') return true
    const stamp = statSync(join(claimsDir(spool), owner), { throwIfNoEntry: false })?.mtimeMs
    if (stamp === undefined) return false
    const now = performance.now()
    const last = watched.get(owner)
    if (last?.stamp !== stamp) {
      watched.set(owner, { stamp, quiet: 0, looked: now })
      return false
    }
    last.quiet += Math.min(now - last.looked, lease / 4)
    last.looked = now
    return last.quiet > lease
  }

  /** What cannot be taken back now stays claimed, holds up nothing else, and is tried again. */
  const empty = async (name: string, owner: string): Promise<number> => {
    const directory = join(claimsDir(spool), name)
    removeDrafts(directory)
    let count = 0
    for (const file of claimNames(directory)) {
      const { id, sent } = parseClaimName(file)
      try {
        if (await release({ spool, id, path: join(directory, file) }, sent, log, asks())) count += 1
      } catch (error) {
        if (isCode(error, 'CLAIM_LOST')) continue
        complain(id, messageOf(error))
      }
    }
    if (count > 0) log.line('taken-back', { owner, messages: count })
    removeIfEmpty(directory)
    if (!existsSync(directory)) taken.delete(name)
    return count
  }

  const complained = new Map<string, string>()
  const complain = (id: string, text: string): void => {
    if (complained.get(id) !== text) log.line('take-back-failed', { id, text })
    complained.set(id, text)
  }

  return {
    async takeBack() {
      const owners = readdirSync(claimsDir(spool), { withFileTypes: true }).filter(entry => entry.isDirectory())
      let problem: unknown
      /** A directory that refuses holds up no other. */
      const attempt = async (work: () => unknown): Promise<void> => {
        try {
          await work()
        } catch (error) {
          problem ??= error
        }
      }
      const names = new Set(owners.map(({ name }) => name))
      for (const name of watched.keys()) if (!names.has(name)) watched.delete(name)
      for (const name of names) {
        if (name === own.owner || taken.has(name) || !isGivenUp(name)) continue
        await attempt(() => {
          const mine = takeOver(spool, name)
          if (mine !== undefined) taken.set(mine, name)
        })
      }
      let count = 0
      for (const [name, owner] of taken) {
        await attempt(async () => {
          count += await empty(name, owner)
        })
      }
      if (problem !== undefined) throw problem
      return count
    },
  }
}

/**
 * Finishes what a dead daemon left undone in the state directory: removes states whose message has been delivered. States outlive their
 * messages, so only an old one can be an orphan; and so can a held notice, which a daemon that stood still wrote after its message had been taken back.
 */
export async function tidyStates(spool: string): Promise<void> {
  const states = namesIn(stateDir(spool))
  const notices = namesIn(heldDir(spool)).filter(name => stemOf(name) !== undefined)
  if (states.length === 0 && notices.length === 0) return
  const failed = new Set(namesIn(failedDir(spool)))
  const waiting = (): string[] => [...deferredIds(spool), ...namesIn(holdDir(spool))]
  const alive = new Set([...waiting(), ...listClaims(spool).map(({ id }) => id), ...waiting()])
  for (const name of states) {
    if (!alive.has(name) && !failed.has(name) && isOld(statePath(spool, name)))
      rmSync(statePath(spool, name), { force: true })
  }
  const stems = new Set([...alive, ...failed].map(noticeStem))
  for (const name of notices) {
    const path = join(heldDir(spool), name)
    if (!stems.has(stemOf(name) ?? '') && isOld(path)) rmSync(path, { force: true })
  }
}

/** Milliseconds after which a state file, or a held notice, without a message is not one that is just being written. */
const ORPHAN_AGE = 3_600_000

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs > ORPHAN_AGE
}

function deferredIds(spool: string): string[] {
  return namesIn(deferredDir(spool)).map(name => parseDeferredName(name)?.id ?? name)
}

function isCode(error: unknown, code: MaildropError['code']): boolean {
  return error instanceof MaildropError && error.code === code
}

/**
 * Gives one claimed message its next state, from what its journal and its state file say.
 * @returns false if another daemon was faster
 */
async function release(claim: Claim, sent: number | undefined, log: Log, asks: boolean): Promise<boolean> {
  try {
    const known = await readState(claim.spool, claim.id)
    if (!holdsClaim(claim)) return false
    await discardNotice(claim.spool, claim.id, known)
    if (known === undefined && (await isGivenUp(claim, sent))) return back(claim, failedDir(claim.spool))
    if (sent === undefined) {
      if (known !== undefined) return await follow(claim, released(known))
    } else if (known !== undefined && recordedTransactions(known) >= sent) return await follow(claim, known)
    else return await releaseSent(claim, sent, known ?? initialState(claim), log, asks)
  } catch (error) {
    if (!isCode(error, 'INVALID_MAIL_FILE')) throw error
    log.line('unfit', { id: claim.id, text: messageOf(error) })
    await record(claim, unfitState(claim.id, messageOf(error)), { onDisk: true, due: 0 })
    return true
  }
  return back(claim, claim.spool)
}

/** True if a message without a state has its reason: it was on its way to failed, or from there to be retried. */
async function isGivenUp({ spool, id }: Claim, sent: number | undefined): Promise<boolean> {
  const path = reasonPath(spool, id)
  if (sent === undefined || !existsSync(path)) return existsSync(path)
  const reason = await readStateFile(path)
  return reason !== undefined && recordedTransactions(reason) >= sent
}

function back(claim: Claim, directory: string): boolean {
  if (!moveClaim(claim, join(directory, claim.id))) return false
  daemonStep('taken-back', claim.id)
  return true
}

/** What was on hold before the attempt that has just begun is so no more. */
function released({ held: _held, ...state }: MailState): MailState {
  return state
}

/** The message may have been delivered, and nothing says whether it was. */
async function releaseSent(
  claim: Claim,
  sent: number,
  state: MailState | undefined,
  log: Log,
  asks: boolean,
): Promise<boolean> {
  if (state === undefined) return false
  const text = asks ? UNKNOWN : `${UNKNOWN}; it is sent again, with the same Message-ID`
  const event: Event = { stage: 'dot', code: undefined, enhanced: undefined, text }
  const outcomes = outcomesOf(waitingRecipients(state), { refused: new Map(), end: event })
  for (const { address } of outcomes)
    log.line('unknown', { id: claim.id, to: address, from: state.from, attempt: sent, text })
  const after = stateAfter({ ...state, transactions: sent - 1 }, outcomes, Date.now())
  if (!asks) return await follow(claim, after, true)
  const held = heldAsUnknown(after, outcomes)
  log.line('held', { id: claim.id, text: held.held })
  return await follow(claim, held, true)
}

const UNKNOWN = 'the daemon died or stood still after the final dot and before the answer was written down'

async function follow(claim: Claim, state: MailState, isNew = false): Promise<boolean> {
  switch (disposition(state)) {
    case 'remove':
      if (!removeClaim(claim)) return false
      await removeState(claim.spool, claim.id)
      return true
    case 'fail':
      await releaseNotices(claim.spool, state)
      await noteFailure(claim.spool, state)
      await moveToFailed(claim)
      return true
    case 'hold':
      if (isNew) await writeState(claim, state)
      await releaseNotices(claim.spool, state)
      await moveToHold(claim)
      daemonStep('taken-back', claim.id)
      return true
    case 'defer':
      if (isNew) await writeState(claim, state)
      await releaseNotices(claim.spool, state)
      await moveToDeferred(claim, Date.now())
      daemonStep('taken-back', claim.id)
      return true
  }
}

/**
 * The state of a message of which nothing has been written down. Undefined if another daemon took it meanwhile.
 * @throws {MaildropError} INVALID_MAIL_FILE if the file has been damaged since it was claimed
 */
function initialState(claim: Claim): MailState | undefined {
  const found = inspect(dirname(claim.path), basename(claim.path), true)
  if (found.kind === 'nothing' || found.kind === 'locked') return undefined
  if (found.kind !== 'ready') {
    throw new MaildropError('INVALID_MAIL_FILE', found.problem ?? 'the file has changed since it was claimed')
  }
  closeSync(found.mail.fd)
  return newState({ id: claim.id, written: found.mail.written, envelope: found.mail.envelope })
}
