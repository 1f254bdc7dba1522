/**
 * Claims in a spool as a test sees them: whose they are, and some of processes that never were.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatIdentity, ownIdentity, type ProcessIdentity } from '../../maildrop/process-identity.ts'
import { listClaims, parseClaimName } from '../../maildrop/spool/claim.ts'
import { formatMailFile } from '../../maildrop/spool/format.ts'
import { newMailId } from '../../maildrop/spool/id.ts'
import { MESSAGE } from './maildrop.ts'

/** The names of all claimed files. */
export const claimed = (spool: string): string[] => listClaims(spool).map(({ name }) => name)

/** The pid of the daemon that has claimed a message. */
export function claimantOf(spool: string, id: string): number | undefined {
  const found = listClaims(spool).find(claim => claim.id === id)
  return found && Number(/\.claim\/(\d+)_/.exec(found.directory)?.[1])
}

/** The names of a daemon's claims whose final dot may have been sent. */
export const sentBy = (spool: string, pid: number): string[] =>
  listClaims(spool)
    .filter(({ directory, name }) => directory.includes(`/.claim/${pid}_`) && parseClaimName(name).sent !== undefined)
    .map(({ name }) => name)

/**
 * Puts a message among the claims of a process that is dead, or of one that nobody can see.
 * @param other where it differs from this process
 */
export function plantClaim(spool: string, to: string, other: Partial<ProcessIdentity> = { start: '1' }): string {
  const owner = join(spool, '.claim', formatIdentity({ ...ownIdentity(), ...other }))
  mkdirSync(owner, { recursive: true })
  const id = newMailId()
  writeFileSync(join(owner, id), formatMailFile({ id, from: '', to: [to] }, Buffer.from(MESSAGE)))
  return id
}
