/**
 * Taking back what dead daemons had claimed.
 *
 * A daemon whose process can be seen is dead when it no longer runs; one that cannot be seen (another machine or container)
 * when the time stamp of its claim directory has not moved for a while, as we ourselves watched it: clocks do not matter.
 * Of several daemons that take back at the same time, each message goes to the one whose rename comes first.
 */
import { closeSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { discardNotice, releaseNotices } from '../delivery/notify.ts'
import type { Event } from '../delivery/outcome.ts'
import { moveToDeferred, moveToFailed, publishReason, record } from '../delivery/record.ts'
import { disposition, outcomesOf, stateAfter } from '../delivery/settle.ts'
import { MaildropError, messageOf, systemCode } from '../errors.ts'
import { liveness, parseIdentity } from '../process-identity.ts'
import { type Claim, moveClaim, parseClaimName, removeClaim, removeIfEmpty } from '../spool/claim.ts'
import { inspect } from '../spool/inspect.ts'
import { claimsDir, deferredDir, failedDir, holdDir, parseDeferredName, stateDir } from '../spool/layout.ts'
import {
  type MailState,
  newState,
  readState,
  recordedTransactions,
  removeState,
  statePath,
  unfitState,
  waitingRecipients,
  writeState,
} from '../spool/state.ts'
import { daemonStep } from '../steps.ts'
import type { Log } from './log.ts'

/** Milliseconds without a sign of life after which a daemon that cannot be seen counts as dead. */
export const LEASE = 30_000

export interface Recovery {
  /** Takes back the claims of dead daemons; returns how many. */
  takeBack(): Promise<number>
}

/** @param own the name of our own claim directory, which is left alone */
export function openRecovery(spool: string, own: string, log: Log): Recovery {
  const seen = new Map<string, { readonly stamp: number; readonly since: number }>()

  const isDead = (owner: string): boolean => {
    const identity = parseIdentity(owner)
    const visible = identity === undefined ? 'unknown' : liveness(identity)
    if (visible !== 'unknown') return visible === 'dead'
    const stamp = statSync(join(claimsDir(spool), owner), { throwIfNoEntry: false })?.mtimeMs ?? 0
    const last = seen.get(owner)
    if (last?.stamp === stamp) return performance.now() - last.since > LEASE
    seen.set(owner, { stamp, since: performance.now() })
    return false
  }

  /** What cannot be taken back now stays claimed, holds up nothing else, and is tried again. */
  const takeBackFrom = async (owner: string): Promise<number> => {
    const directory = join(claimsDir(spool), owner)
    let count = 0
    for (const name of namesIn(directory)) {
      const { id, sent } = parseClaimName(name)
      try {
        if (await release({ spool, id, path: join(directory, name) }, sent, log)) count += 1
      } catch (error) {
        if (isCode(error, 'CLAIM_LOST')) continue
        complain(id, messageOf(error))
      }
    }
    if (count > 0) log.line('taken-back', { owner, messages: count })
    removeIfEmpty(directory)
    seen.delete(owner)
    return count
  }

  const complained = new Map<string, string>()
  const complain = (id: string, text: string): void => {
    if (complained.get(id) !== text) log.line('take-back-failed', { id, text })
    complained.set(id, text)
  }

  return {
    async takeBack() {
      let count = 0
      for (const entry of readdirSync(claimsDir(spool), { withFileTypes: true })) {
        if (entry.isDirectory() && entry.name !== own && isDead(entry.name)) count += await takeBackFrom(entry.name)
      }
      return count
    },
  }
}

/**
 * Finishes what a dead daemon left undone in the state directory: moves reasons to their failed messages, and removes
 * states whose message has been delivered. States outlive their messages, so only an old one can be an orphan.
 */
export async function tidyStates(spool: string): Promise<void> {
  const states = namesIn(stateDir(spool))
  if (states.length === 0) return
  const failed = new Set(namesIn(failedDir(spool)))
  const waiting = (): string[] => [...deferredIds(spool), ...namesIn(holdDir(spool))]
  const alive = new Set([...waiting(), ...claimedIds(spool), ...waiting()])
  for (const name of states) {
    const id = name.replace(/^\./, '')
    // A state beside a reason is of a message that is just being retried.
    if (failed.has(`${name}.json`) && failed.has(name)) continue
    if (failed.has(name)) await publishReason(spool, name)
    else if (!alive.has(id) && isOld(statePath(spool, name))) rmSync(statePath(spool, name), { force: true })
  }
}

/** Milliseconds after which a state file without a message is not one that is just being written. */
const ORPHAN_AGE = 3_600_000

function isOld(path: string): boolean {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs > ORPHAN_AGE
}

function deferredIds(spool: string): string[] {
  return namesIn(deferredDir(spool)).map(name => parseDeferredName(name)?.id ?? name)
}

function claimedIds(spool: string): string[] {
  return namesIn(claimsDir(spool)).flatMap(owner =>
    namesIn(join(claimsDir(spool), owner)).map(name => parseClaimName(name).id),
  )
}

function isCode(error: unknown, code: MaildropError['code']): boolean {
  return error instanceof MaildropError && error.code === code
}

/**
 * Gives one claimed message its next state, from what its journal and its state file say.
 * @returns false if another daemon was faster
 */
async function release(claim: Claim, sent: number | undefined, log: Log): Promise<boolean> {
  try {
    const known = await readState(claim.spool, claim.id)
    await discardNotice(claim.spool, claim.id, known)
    if (known !== undefined && (sent === undefined || recordedTransactions(known) >= sent))
      return await follow(claim, known)
    if (sent !== undefined) return await releaseSent(claim, sent, known ?? initialState(claim), log)
  } catch (error) {
    if (!isCode(error, 'INVALID_MAIL_FILE')) throw error
    log.line('unfit', { id: claim.id, text: messageOf(error) })
    await record(claim, unfitState(claim.id, messageOf(error)), { onDisk: true, due: 0 })
    return true
  }
  const isRetried = existsSync(join(failedDir(claim.spool), `${claim.id}.json`))
  if (!moveClaim(claim, join(isRetried ? failedDir(claim.spool) : claim.spool, claim.id))) return false
  daemonStep('taken-back', claim.id)
  return true
}

/** The message may have been delivered, and nothing says whether it was: it is sent again. */
async function releaseSent(claim: Claim, sent: number, state: MailState | undefined, log: Log): Promise<boolean> {
  if (state === undefined) return false
  const event: Event = { stage: 'dot', code: undefined, enhanced: undefined, text: UNKNOWN }
  const outcomes = outcomesOf(waitingRecipients(state), { refused: new Map(), end: event })
  for (const { address } of outcomes)
    log.line('unknown', { id: claim.id, to: address, from: state.from, attempt: sent, text: UNKNOWN })
  return await follow(claim, stateAfter({ ...state, transactions: sent - 1 }, outcomes, Date.now()), true)
}

const UNKNOWN =
  'the daemon died after the final dot and before the answer was written down; it is sent again, with the same Message-ID'

async function follow(claim: Claim, state: MailState, isNew = false): Promise<boolean> {
  switch (disposition(state)) {
    case 'remove':
      if (!removeClaim(claim)) return false
      await removeState(claim.spool, claim.id)
      return true
    case 'fail':
      await releaseNotices(claim.spool, state)
      await moveToFailed(claim)
      return true
    case 'defer':
      if (isNew) await writeState(claim.spool, state)
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

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return []
    throw error
  }
}
