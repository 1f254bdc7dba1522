/**
 * Claims: a message is delivered by the daemon that has renamed it into its own directory, and by no other.
 *
 * The directory's name tells who the daemon is, so that any other can see whether it lives, and ends in a random part. A
 * rename is atomic; of two daemons that want the same message one finds it gone. Just before the final dot the claimed file
 * gets the suffix `.sent<attempt>`: this is the journal of what may have been delivered.
 *
 * Whoever takes the claims of another daemon back renames its directory first. A path in it leads nowhere from then on, and
 * is never used again, so whatever a daemon that was frozen still wants to do with a message (the final dot, a state, the
 * next place) begins with a rename that fails.
 */
import { randomBytes } from 'node:crypto'
import { lstatSync, rmdirSync, rmSync, unlinkSync, utimesSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { MaildropError, spoolError, systemCode } from '../errors.ts'
import { formatIdentity, ownIdentity, type ProcessIdentity, parseIdentity } from '../process-identity.ts'
import { daemonStep } from '../steps.ts'
import { moved, namesIn } from './entries.ts'
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
  /** The name of its directory under `.claim`; another one once the directory has been taken away. */
  readonly owner: string
  /** Renames `from` (a path in the spool) into the claim directory; undefined if it is gone. */
  take(from: string, id: string): Claim | undefined
  /** Shows others that this process lives and works: the directory gets a new time stamp. */
  heartbeat(): void
  /** Removes the directory if nothing is claimed. */
  close(): void
}

/** @param onLost called when the directory has been taken away, with all claims in it; the next ones go into a new one */
export function openClaims(spool: string, onLost: () => void = () => undefined): Claims {
  let owner = newOwner()
  // Put together without a library, as all paths that every message needs.
  const directory = (): string => `${claimsDir(spool)}/${owner}`
  const renew = (): void => {
    owner = newOwner()
    ensureDirectory(directory())
    onLost()
  }
  ensureDirectory(directory())
  return {
    get owner() {
      return owner
    },
    take(from, id) {
      let path = `${directory()}/${id}`
      if (!moved(from, path)) {
        if (exists(directory())) return undefined
        renew()
        path = `${directory()}/${id}`
        if (!moved(from, path)) return undefined
      }
      daemonStep('claimed', id)
      return { spool, id, path }
    },
    heartbeat() {
      const now = new Date()
      try {
        utimesSync(directory(), now, now)
      } catch (error) {
        if (systemCode(error) !== 'ENOENT') throw error
        renew()
      }
    },
    close() {
      removeIfEmpty(directory())
    },
  }
}

/**
 * Takes the whole directory of another daemon.
 * @returns the name that it has now, by which it is this process's; undefined if somebody else was faster
 */
export function takeOver(spool: string, owner: string): string | undefined {
  const name = newOwner()
  return moved(join(claimsDir(spool), owner), join(claimsDir(spool), name)) ? name : undefined
}

/** A name of a claim directory of this process that nobody has used before. */
function newOwner(): string {
  return `${formatIdentity(ownIdentity())}~${randomBytes(6).toString('hex')}`
}

/** Whose a claim directory is; undefined if its name does not tell. */
export function parseOwner(name: string): ProcessIdentity | undefined {
  return parseIdentity(name.replace(/~[0-9a-f]{1,12}$/, ''))
}

/**
 * Writes into the journal that the message may be delivered from now on.
 * @throws {MaildropError} CLAIM_LOST, SPOOL_FAILED …
 */
export function markSent(claim: Claim, attempt: number): void {
  const path = `${dirname(claim.path)}/${claim.id}${SENT}${attempt}`
  if (!moved(claim.path, path)) throw claimLost(claim)
  claim.path = path
  daemonStep('sending', claim.id)
}

/** Moves the claimed file to where its next state is; a directory that somebody has removed is made again. False if the claim has been lost. */
export function moveClaim(claim: Claim, to: string): boolean {
  if (!moved(claim.path, to)) {
    if (!holdsClaim(claim)) return false
    ensureDirectory(dirname(to))
    if (!moved(claim.path, to)) return false
  }
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

/** Another daemon has the message and its state now. */
export function claimLost({ path }: Claim): MaildropError {
  return new MaildropError('CLAIM_LOST', `${path} is gone; another daemon has taken the message back`, { path })
}

/** Where a state is written before it takes its place: beside the claimed file, since it counts only as long as that is ours. */
export function draftPath(claim: Claim): string {
  return join(claim.path, '..', `.${claim.id}`)
}

/**
 * Removes a file that belongs to a claimed message, by way of the claim's directory: as nobody else moves the claim's files, so nobody
 * else's file is removed should the claim be lost. Without such a file nothing happens.
 * @throws {MaildropError} CLAIM_LOST; SPOOL_DENIED …
 */
export function removeOf(claim: Claim, path: string): void {
  const draft = draftPath(claim)
  // To rename a file to another name of its own does nothing.
  rmSync(draft, { force: true })
  if (moved(path, draft)) rmSync(draft, { force: true })
  else if (!holdsClaim(claim)) throw claimLost(claim)
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

/** A claimed file, whoever claimed it. */
export interface ClaimedFile {
  readonly directory: string
  readonly name: string
  readonly id: string
}

/** Everything that is claimed, also what changes hands meanwhile: directories are read until no new one is found. */
export function listClaims(spool: string): ClaimedFile[] {
  const found: ClaimedFile[] = []
  const seen = new Set<string>()
  for (let again = true; again; ) {
    again = false
    for (const owner of namesIn(claimsDir(spool))) {
      if (seen.has(owner)) continue
      seen.add(owner)
      again = true
      const directory = join(claimsDir(spool), owner)
      for (const name of claimNames(directory)) found.push({ directory, name, id: parseClaimName(name).id })
    }
  }
  return found
}

/** The names of the messages in a claim directory, without the drafts of states; none if it is gone. */
export function claimNames(directory: string): string[] {
  return namesIn(directory).filter(name => !name.startsWith('.'))
}

/** Removes the drafts of states in a claim directory that has been taken over. */
export function removeDrafts(directory: string): void {
  for (const name of namesIn(directory)) if (name.startsWith('.')) rmSync(join(directory, name), { force: true })
}

/** Takes the name of a claimed file apart: the id, and the attempt whose final dot may have been sent. */
export function parseClaimName(name: string): { readonly id: string; readonly sent: number | undefined } {
  const [, id, sent] = /^(.+)\.sent(\d{1,6})$/.exec(name) ?? []
  return id === undefined ? { id: name, sent: undefined } : { id, sent: Number(sent) }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
