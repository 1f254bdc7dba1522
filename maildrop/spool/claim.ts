/**
 * Claims: a message is delivered by the daemon that has renamed it into its own directory, and by no other.
 *
 * The directory's name tells who the daemon is, so that any other can see whether it lives. A rename is atomic; of two
 * daemons that want the same message one finds it gone. Just before the final dot the claimed file gets the suffix
 * `.sent<attempt>`: this is the journal of what may have been delivered, and since the rename fails when the claim has
 * been taken back meanwhile, a daemon that was frozen for long never sends what another one is sending.
 */
import { lstatSync, renameSync, rmdirSync, unlinkSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { MaildropError, spoolError, systemCode } from '../errors.ts'
import { formatIdentity, ownIdentity } from '../process-identity.ts'
import { daemonStep } from '../steps.ts'
import { claimsDir, SENT } from './layout.ts'
import { ensureDirectory } from './sync.ts'

export interface Claim {
  readonly spool: string
  readonly id: string
  /** Where the message is now. */
  path: string
}

/** The claims of this process in one spool. */
export interface Claims {
  /** The name of its directory under `.claim`. */
  readonly owner: string
  /** Renames `from` (a path in the spool) into the claim directory; undefined if it is gone. */
  take(from: string, id: string): Claim | undefined
  /** Shows other machines that this process lives. */
  heartbeat(): void
  /** Removes the directory if nothing is claimed. */
  close(): void
}

export function openClaims(spool: string): Claims {
  const owner = formatIdentity(ownIdentity())
  const directory = join(claimsDir(spool), owner)
  ensureDirectory(directory)
  return {
    owner,
    take(from, id) {
      const path = join(directory, id)
      if (!moved(from, path)) {
        if (exists(directory)) return undefined
        ensureDirectory(directory)
        if (!moved(from, path)) return undefined
      }
      daemonStep('claimed', id)
      return { spool, id, path }
    },
    heartbeat() {
      const now = new Date()
      try {
        utimesSync(directory, now, now)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error
        ensureDirectory(directory)
      }
    },
    close() {
      removeIfEmpty(directory)
    },
  }
}

/**
 * Writes into the journal that the message may be delivered from now on.
 * @throws {MaildropError} CLAIM_LOST, SPOOL_FAILED …
 */
export function markSent(claim: Claim, attempt: number): void {
  const path = join(claim.path, '..', `${claim.id}${SENT}${attempt}`)
  if (!moved(claim.path, path)) {
    throw new MaildropError('CLAIM_LOST', `${claim.path} is gone; another daemon has taken it back`, {
      path: claim.path,
    })
  }
  claim.path = path
  daemonStep('sending', claim.id)
}

/** Moves the claimed file to where its next state is. False if the claim has been lost. */
export function moveClaim(claim: Claim, to: string): boolean {
  if (!moved(claim.path, to)) return false
  claim.path = to
  return true
}

/** Removes a delivered message. False if the claim has been lost. */
export function removeClaim(claim: Claim): boolean {
  try {
    unlinkSync(claim.path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw spoolError('remove', claim.path, error)
  }
  daemonStep('removed', claim.id)
  return true
}

/** True while the claimed file is ours. */
export function holdsClaim(claim: Claim): boolean {
  return exists(claim.path)
}

/** True if the claimed file is the one that was looked at before. */
export function isSameFile(claim: Claim, inode: number, size: number): boolean {
  const stat = lstatSync(claim.path, { throwIfNoEntry: false })
  return stat?.ino === inode && stat.size === size
}

/** Removes a claim directory, unless something is in it. */
export function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory)
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(systemCode(error) ?? '')) throw spoolError('remove', directory, error)
  }
}

/** Takes the name of a claimed file apart: the id, and the attempt whose final dot may have been sent. */
export function parseClaimName(name: string): { readonly id: string; readonly sent: number | undefined } {
  const [, id, sent] = /^(.+)\.sent(\d{1,6})$/.exec(name) ?? []
  return id === undefined ? { id: name, sent: undefined } : { id, sent: Number(sent) }
}

function moved(from: string, to: string): boolean {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return false
    throw spoolError('rename', from, error)
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
