/**
 * From what happened in an attempt to what the message is from now on: the half that writes it down.
 *
 * The order makes every moment a safe one to die at: what is known about the recipients is durable before the message
 * leaves the claim; the state file outlives the message. Nothing is removed but what has been delivered to everyone.
 */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { spoolError } from '../errors.ts'
import { type Claim, moveClaim, removeClaim } from '../spool/claim.ts'
import { deferredDir, deferredName, failedDir } from '../spool/layout.ts'
import { type MailState, removeState, statePath, writeState } from '../spool/state.ts'
import { syncDirectory } from '../spool/sync.ts'
import { daemonStep } from '../steps.ts'
import { disposition } from './settle.ts'

/** Removes, defers or gives up a claimed message, as its state says. Safe to repeat after an error. */
export async function record(claim: Claim, state: MailState, known: { onDisk: boolean; due: number }): Promise<void> {
  switch (disposition(state)) {
    case 'remove':
      removeClaim(claim)
      if (known.onDisk) await removeState(claim.spool, claim.id)
      return
    case 'defer':
      await writeState(claim.spool, state)
      await moveToDeferred(claim, known.due)
      return
    case 'fail':
      await writeState(claim.spool, state)
      await moveToFailed(claim)
  }
}

/**
 * Puts a claimed message among the deferred.
 * @param due when it is to be tried again, in milliseconds since 1970
 */
export async function moveToDeferred(claim: Claim, due: number): Promise<void> {
  moveClaim(claim, join(deferredDir(claim.spool), deferredName(claim.id, due)))
  daemonStep('deferred', claim.id)
  await syncDirectory(deferredDir(claim.spool))
}

/** Gives a claimed message up; its state has to be on disk, and becomes the reason. */
export async function moveToFailed(claim: Claim): Promise<void> {
  moveClaim(claim, join(failedDir(claim.spool), claim.id))
  daemonStep('failed', claim.id)
  await publishReason(claim.spool, claim.id)
}

/** Puts the state of a message that was given up beside it. */
export async function publishReason(spool: string, id: string): Promise<void> {
  const path = statePath(spool, id)
  try {
    await rename(path, join(failedDir(spool), `${id}.json`))
    await syncDirectory(failedDir(spool))
  } catch (error) {
    throw spoolError('move', path, error)
  }
  daemonStep('reason-written', id)
}
