/**
 * Where things are in a spool directory. The directory is the state of a message, a rename is its transition.
 *
 *     spool/<name>                      mail that waits for its first attempt; any program may put it here
 *     spool/<name>.lck                  "do not touch <name> yet"
 *     spool/.held/<id>                  written by a transaction that has not been published yet
 *     spool/.claim/<daemon>/<id>        being delivered by that daemon; nothing of it may have reached the server
 *     spool/.claim/<daemon>/<id>.sent2  the same, once the final dot of attempt 2 may be out: it may have been delivered
 *     spool/.deferred/<time>.<id>       waits for its next attempt, due at <time> (seconds since 1970)
 *     spool/.deferred/<time>@<id>       waits for its first attempt, which its writer wants not before <time>
 *     spool/.claim/<daemon>/.<id>       its state, while that is being written
 *     spool/.state/<id>                 what is known about the recipients of <id>, wherever its message is
 *     spool/.untold/<id>.<n>            a failure that MAILDROP_ON_FAILURE has still to be told of (untold.ts)
 *     spool/hold/<id>                   put on hold: nothing happens until somebody releases or deletes it
 *     spool/failed/<id>                 given up; failed/<id>.json says why
 *     spool/.relays/<host>:<port>/      the spool of a relay (relays.ts), laid out as this one
 *
 *     .held → spool → .claim/… → .claim/….sent1 → gone (delivered)
 *               ↑         ↓             ↓
 *               └──(no attempt made)  .deferred ⇄ .claim/…    or   failed
 *
 *     .claim/….sent1 → hold, of what may have been delivered if somebody is to be asked; and by whoever administers it:
 *     hold ⇄ spool or .deferred, and failed → .claim/… → .deferred (operations.ts)
 *
 * All of it is one file system, so every transition is one rename. Directories are 0700, files 0600.
 */
import { lstatSync } from 'node:fs'
import { isAbsolute } from 'node:path'
import { ensureDirectory } from './sync.ts'

export const heldDir = (spool: string): string => `${spool}/.held`
export const claimsDir = (spool: string): string => `${spool}/.claim`
export const deferredDir = (spool: string): string => `${spool}/.deferred`
export const stateDir = (spool: string): string => `${spool}/.state`
export const untoldDir = (spool: string): string => `${spool}/.untold`
export const holdDir = (spool: string): string => `${spool}/hold`
export const failedDir = (spool: string): string => `${spool}/failed`
/** Why a failed message was given up. */
export const reasonPath = (spool: string, id: string): string => `${failedDir(spool)}/${id}.json`
export const relaysDir = (spool: string): string => `${spool}/.relays`

/** The suffix, before the number of the attempt, of a claimed file that may have been delivered. */
export const SENT = '.sent'

/**
 * Creates what is missing of a spool directory, and its parents, durably. `hold` is made when it is needed.
 * @throws {MaildropError} SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED
 */
export async function ensureSpool(spool: string): Promise<void> {
  for (const directory of [spool, ...[heldDir, claimsDir, deferredDir, stateDir, failedDir].map(of => of(spool))]) {
    ensureDirectory(directory)
  }
}

/** Whether there is a directory that is laid out as a spool. */
export function isSpool(spool: string): boolean {
  if (!isAbsolute(spool)) return false
  try {
    return [heldDir, claimsDir, deferredDir, stateDir, failedDir].every(of => lstatSync(of(spool)).isDirectory())
  } catch {
    return false
  }
}

/** `lost+found` is there where the spool is a file system of its own. */
const NEVER_MAIL = new Set(['failed', 'hold', 'lost+found'])

/** True if a directory entry of the spool can be mail by its name. */
export function canBeMail(name: string): boolean {
  return !name.startsWith('.') && !name.endsWith('.lck') && !NEVER_MAIL.has(name)
}

/** A message in `.deferred`. */
export interface Deferred {
  readonly id: string
  /** Milliseconds since 1970. */
  readonly due: number
  /** True if nothing has been tried yet and its writer chose the time. */
  readonly scheduled: boolean
}

/** The name of a deferred message; `due` in milliseconds since 1970. */
export function deferredName(id: string, due: number, scheduled = false): string {
  return `${Math.ceil(due / 1000)}${scheduled ? '@' : '.'}${id}`
}

/** @returns undefined if the name is not one of a deferred message */
export function parseDeferredName(name: string): Deferred | undefined {
  const [, due, mark, id] = /^(\d{1,12})([.@])(.+)$/.exec(name) ?? []
  return due === undefined || id === undefined ? undefined : { id, due: Number(due) * 1000, scheduled: mark === '@' }
}
