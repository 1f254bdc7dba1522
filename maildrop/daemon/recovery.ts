/**
 * Taking back what dead daemons had claimed.
 *
 * A daemon whose process can be seen is dead when it no longer runs; one that cannot be seen (another machine or container)
 * when the time stamp of its claim directory has not moved for a while, as we ourselves watched it: clocks do not matter.
 * Of several daemons that take back at the same time, each message goes to the one whose rename comes first.
 */
import { closeSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Event } from '../delivery/outcome.ts'
import { moveToFailed, publishReason } from '../delivery/record.ts'
import { disposition, outcomesOf, stateAfter } from '../delivery/settle.ts'
import { systemCode } from '../errors.ts'
import { liveness, parseIdentity } from '../process-identity.ts'
import { type Claim, moveClaim, parseClaimName, removeClaim, removeIfEmpty } from '../spool/claim.ts'
import { inspect } from '../spool/inspect.ts'
import { claimsDir, deferredDir, deferredName, failedDir, stateDir } from '../spool/layout.ts'
import { type MailState, newState, readState, removeState, waitingRecipients, writeState } from '../spool/state.ts'
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

  return {
    async takeBack() {
      let count = 0
      for (const owner of readdirSync(claimsDir(spool))) {
        if (owner === own || !isDead(owner)) continue
        const directory = join(claimsDir(spool), owner)
        for (const name of namesIn(directory)) {
          const { id, sent } = parseClaimName(name)
          await release({ spool, id, path: join(directory, name) }, sent, log)
          count += 1
        }
        removeIfEmpty(directory)
        seen.delete(owner)
        if (count > 0) log.line('taken-back', { owner, messages: count })
      }
      return count
    },
  }
}

/** Finishes giving up messages for which only the move of the reason is missing. */
export async function finishFailures(spool: string): Promise<void> {
  const failed = new Set(readdirSync(failedDir(spool)))
  for (const id of readdirSync(stateDir(spool))) if (failed.has(id)) await publishReason(spool, id)
}

/** Gives one claimed message its next state, from what its journal and its state file say. */
async function release(claim: Claim, sent: number | undefined, log: Log): Promise<void> {
  const known = await readState(claim.spool, claim.id)
  if (known !== undefined && (sent === undefined || known.attempts >= sent)) return await follow(claim, known)
  if (sent === undefined) {
    moveClaim(claim, join(claim.spool, claim.id))
    return daemonStep('taken-back', claim.id)
  }
  const state = known ?? initialState(claim)
  if (state === undefined) return
  const event: Event = { stage: 'dot', code: undefined, enhanced: undefined, text: UNKNOWN }
  const outcomes = outcomesOf(waitingRecipients(state), { refused: new Map(), end: event })
  for (const { address } of outcomes)
    log.line('unknown', { id: claim.id, to: address, from: state.from, attempt: sent, text: UNKNOWN })
  await follow(claim, stateAfter({ ...state, attempts: sent - 1 }, outcomes, Date.now()), true)
}

const UNKNOWN =
  'the daemon died after the final dot and before the answer was written down; it is sent again, with the same Message-ID'

async function follow(claim: Claim, state: MailState, isNew = false): Promise<void> {
  switch (disposition(state)) {
    case 'remove':
      removeClaim(claim)
      return await removeState(claim.spool, claim.id)
    case 'fail':
      return await moveToFailed(claim)
    case 'defer':
      if (isNew) await writeState(claim.spool, state)
      moveClaim(claim, join(deferredDir(claim.spool), deferredName(claim.id, Date.now())))
      daemonStep('taken-back', claim.id)
  }
}

/** The state of a message of which nothing has been written down. Undefined if another daemon took it meanwhile. */
function initialState(claim: Claim): MailState | undefined {
  const found = inspect(join(claim.path, '..'), claim.path.slice(claim.path.lastIndexOf('/') + 1), true)
  if (found.kind !== 'ready') return undefined
  closeSync(found.mail.fd)
  return newState({ id: claim.id, written: found.mail.written, envelope: found.mail.envelope })
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    throw error
  }
}
