/**
 * Whose mail is accepted: that of the daemon's user, of the owner of the spool and of root. Any other could make anybody's mail ours.
 *
 * A spool may be shared with a group (MAILDROP_GROUP). Then the directory decides who can put a name into it, and it has to
 * make sure that nobody but the daemon can take one away again, or put something else in the place of a part of the spool: it is
 * writable for its group, not for others, and sticky. Of a file the group is asked, which nobody outside of it can set, and that
 * it has one name: a second one could be a link to what its owner never meant to send.
 */
import { lstatSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { MaildropError } from '../errors.ts'
import type { ReadyMail } from './inspect.ts'
import { claimsDir, deferredDir, failedDir, heldDir, holdDir, relaysDir, stateDir, untoldDir } from './layout.ts'
import { ensureDirectory } from './sync.ts'

const STICKY = 0o1000
const GROUP_WRITES = 0o020
const OTHERS_WRITE = 0o002

/** What is wrong with the mode of a directory that is to be shared with its group; undefined if nothing is. */
export function problemOfMode(mode: number): string | undefined {
  if ((mode & OTHERS_WRITE) !== 0) return 'everybody may write it'
  if ((mode & GROUP_WRITES) === 0) return 'its group may not write it'
  return (mode & STICKY) === 0
    ? 'those who may write it may remove the files of each other (it is not sticky)'
    : undefined
}

/**
 * @param shared whether MAILDROP_GROUP is set
 * @returns why a file of this owner is not accepted; undefined if it is
 */
export function problemOfOwner(
  spool: string,
  { owner, group, links }: Pick<ReadyMail, 'owner' | 'group' | 'links'>,
  shared: boolean,
): string | undefined {
  const own = process.geteuid?.()
  if (own === undefined || (owner === own && !shared)) return undefined
  const { uid, gid, mode } = statSync(spool)
  const isShared = shared && problemOfMode(mode) === undefined
  if (isShared && links !== 1) return "it has more than one name (hard links), so it may be anybody's; copy it instead"
  if (owner === own || owner === 0 || owner === uid || (isShared && group === gid)) return undefined
  const whose = `it belongs to user ${owner}, the daemon runs as user ${own}`
  if (isShared) return `${whose}; in a shared spool it has to belong to group ${gid}, and belongs to group ${group}`
  return `${whose}; change its owner and retry it, if it is to be sent`
}

/**
 * Sees to it that the parts of a shared spool are the daemon's own, those too that it needs later only.
 * @throws {MaildropError} SPOOL_DENIED if somebody else was there first; SPOOL_FULL, SPOOL_FAILED
 */
export function secureParts(spool: string): void {
  for (const path of [holdDir(spool), relaysDir(spool)]) ensureDirectory(path)
  for (const path of [heldDir, claimsDir, deferredDir, stateDir, untoldDir, holdDir, failedDir, relaysDir].map(of =>
    of(spool),
  )) {
    const stat = lstatSync(path, { throwIfNoEntry: false })
    if (stat === undefined || isOwnDirectory(path)) continue
    const what = stat.isDirectory() ? `it belongs to user ${stat.uid}` : 'it is no directory'
    const text = `cannot share ${spool} with a group (MAILDROP_GROUP): ${path} is a part of the spool, and ${what}; move it away`
    throw new MaildropError('SPOOL_DENIED', text, { path })
  }
}

/** True of a directory (not of a link to one) of this process's user, of the owner of the spool that it is in, or of root. */
export function isOwnDirectory(path: string): boolean {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat?.isDirectory() === true && [0, process.geteuid?.(), statSync(dirname(path)).uid].includes(stat.uid)
}
