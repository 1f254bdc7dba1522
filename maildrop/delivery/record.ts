/**
 * From what happened in an attempt to what the message is from now on: the half that writes it down.
 *
 * The order makes every moment a safe one to die at: what is known about the recipients is durable before the message
 * leaves the claim; the state file outlives the message. Nothing is removed but what has been delivered to everyone. On a
 * full disk a message is held back only if who has got it could be forgotten, so the others go out and make room.
 */
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { spoolError, systemCode } from '../errors.ts'
import { type Claim, claimLost, draftPath, holdsClaim, moveClaim, removeClaim, removeOf } from '../spool/claim.ts'
import { linkOrCopy } from '../spool/entries.ts'
import { deferredDir, deferredName, failedDir, holdDir, reasonPath } from '../spool/layout.ts'
import { type MailState, removeState, statePath, writeState } from '../spool/state.ts'
import { ensureDirectory, syncDirectory } from '../spool/sync.ts'
import { noteFailure, noteRefusals } from '../spool/untold.ts'
import { daemonStep } from '../steps.ts'
import { releaseNotices } from './notify.ts'
import { disposition } from './settle.ts'

/**
 * Removes, defers, holds or gives up a claimed message, as its state says. Safe to repeat after an error.
 * @throws {MaildropError} CLAIM_LOST: another daemon has the message and its state now; SPOOL_FULL, SPOOL_DENIED …
 */
export async function record(claim: Claim, state: MailState, known: { onDisk: boolean; due: number }): Promise<void> {
  const end = disposition(state)
  if (end === 'remove') {
    removeDelivered(claim)
    if (known.onDisk) await removeState(claim.spool, claim.id)
    return
  }
  if (!holdsClaim(claim)) throw claimLost(claim)
  await writeState(claim, state).catch(error => {
    if (end !== 'defer' || known.onDisk || isWorthKnowing(state)) throw error
  })
  await releaseNotices(claim.spool, state)
  if (end === 'fail') {
    await noteFailure(claim.spool, state)
    await moveToFailed(claim)
    return
  }
  await noteRefusals(claim.spool, state)
  if (end === 'hold') await moveToHold(claim)
  else await moveToDeferred(claim, known.due)
}

/**
 * Removes a claimed message that everybody has got, and of which no state is on disk.
 * @throws {MaildropError} as record
 */
export function removeDelivered(claim: Claim): void {
  if (!removeClaim(claim)) throw claimLost(claim)
}

/** False while nobody has got or been refused the message: without its state only the number of attempts is lost. */
function isWorthKnowing({ recipients }: MailState): boolean {
  return recipients.some(({ status }) => status !== 'waiting')
}

/**
 * Puts a claimed message among the deferred.
 * @throws {MaildropError} CLAIM_LOST and others, as record
 * @param due when it is to be tried again, in milliseconds since 1970
 */
export async function moveToDeferred(claim: Claim, due: number): Promise<void> {
  if (!moveClaim(claim, join(deferredDir(claim.spool), deferredName(claim.id, due)))) throw claimLost(claim)
  daemonStep('deferred', claim.id)
  await syncDirectory(deferredDir(claim.spool))
}

/** Puts a claimed message on hold; its state, which says why, has to be on disk. */
export async function moveToHold(claim: Claim): Promise<void> {
  ensureDirectory(holdDir(claim.spool))
  if (!moveClaim(claim, join(holdDir(claim.spool), claim.id))) throw claimLost(claim)
  daemonStep('held', claim.id)
  await syncDirectory(holdDir(claim.spool))
}

/** Gives a claimed message up; its state has to be on disk, and becomes the reason. */
export async function moveToFailed(claim: Claim): Promise<void> {
  await publishReason(claim)
  daemonStep('reason-written', claim.id)
  if (!moveClaim(claim, join(failedDir(claim.spool), claim.id))) throw claimLost(claim)
  daemonStep('failed', claim.id)
  await syncDirectory(failedDir(claim.spool))
}

/**
 * Puts the state of a claimed message where it is the reason, before the message can be found there: once it is, everybody may retry it.
 * Each step ends or begins in the claim's directory, so that none does anything once the claim is lost.
 */
async function publishReason(claim: Claim): Promise<void> {
  const path = statePath(claim.spool, claim.id)
  const draft = draftPath(claim)
  const reason = reasonPath(claim.spool, claim.id)
  ensureDirectory(failedDir(claim.spool))
  try {
    rmSync(draft, { force: true })
    linkOrCopy(path, draft)
    renameSync(draft, reason)
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw spoolError('write', reason, error)
    // Whoever has removed the states has removed this one.
    if (!holdsClaim(claim)) throw claimLost(claim)
  }
  await syncDirectory(failedDir(claim.spool))
  removeOf(claim, path)
}
