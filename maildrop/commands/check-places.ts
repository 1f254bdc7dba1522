/**
 * `configtest`: whether this user can work in the directories of the configuration. Nothing is made or changed.
 */
import { accessSync, constants, lstatSync, type Stats, statSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import type { MaildropConfig } from '../config.ts'
import { messageOf, systemCode } from '../errors.ts'
import { notRegular } from '../small-file.ts'
import { claimsDir, deferredDir, failedDir, heldDir, holdDir, stateDir, untoldDir } from '../spool/layout.ts'
import { problemOfMode } from '../spool/owner.ts'
import { bad, type Check, good } from './check.ts'
import { runningDaemon } from './daemon-status.ts'

const ALL = constants.R_OK | constants.W_OK | constants.X_OK

export function checkPlaces(config: MaildropConfig): Check[] {
  const { spools, shared, relays, varDir, pidFile, logFile, metrics, onFailure } = config
  const directories = new Set([varDir, dirname(pidFile), dirname(logFile)])
  return [
    ...spools.map(spool => checkSpool(spool, shared && !relays.some(relay => relay.spool === spool))),
    ...Array.from(directories, path => checkDirectory('var', path) ?? good('var', path, 'can be written')),
    ...checkFile('log', logFile),
    ...checkFile('var', pidFile),
    ...(metrics !== undefined && 'file' in metrics ? checkMetrics(metrics.file) : []),
    ...(onFailure === undefined ? [] : [checkCommand(onFailure[0])]),
  ]
}

/** Whether MAILDROP_METRICS can have its port; a daemon that runs may be it that has it. */
export async function checkPort({ metrics, pidFile }: MaildropConfig): Promise<Check[]> {
  if (metrics === undefined || !('port' in metrics) || runningDaemon({ pidFile }) !== undefined) return []
  const server = createServer()
  const problem = await new Promise<string | undefined>(resolve => {
    server.once('error', error => resolve(systemCode(error) ?? messageOf(error)))
    server.listen(metrics.port, '127.0.0.1', () => server.close(() => resolve(undefined)))
  })
  if (problem === undefined) return []
  const text = problem === 'EADDRINUSE' ? 'another process has that port' : `it cannot be listened on: ${problem}`
  return [
    bad('metrics', `127.0.0.1:${metrics.port}`, text, 'set MAILDROP_METRICS to a free port above 1023, or to a file'),
  ]
}

/** All of a spool is one file system, since mail moves by renames. */
function checkSpool(spool: string, shared: boolean): Check {
  const problem = checkDirectory('spool', spool)
  if (problem !== undefined) return problem
  const { dev, mode, uid, gid } = statSync(spool)
  for (const part of [heldDir, claimsDir, deferredDir, stateDir, untoldDir, holdDir, failedDir].map(of => of(spool))) {
    const stat = lookAt(part)
    if (stat === undefined) continue
    const inside = checkDirectory('spool', part)
    if (inside?.ok === false) return inside
    if (stat.dev !== dev)
      return bad(
        'spool',
        part,
        `it is another file system than ${spool}`,
        'mail moves by renames, so the spool has to be one file system: unmount it, or set MAILDROP_SPOOL to a directory on it',
      )
  }
  if (shared) {
    const wrong = problemOfMode(mode)
    return wrong === undefined
      ? good('spool', spool, `can be written, and the members of group ${gid} may put mail into it`)
      : bad('spool', spool, `MAILDROP_GROUP is set, but ${wrong}`, `run: chmod 3770 ${spool}`)
  }
  if ((mode & 0o077) !== 0)
    return good('spool', spool, 'can be written, but other users may look into it', `run: chmod 700 ${spool}`)
  const remark =
    uid !== 0 && process.getuid?.() === 0
      ? `it belongs to user ${uid}; run configtest as that user to see what the daemon may do`
      : undefined
  return good('spool', spool, 'can be written, and is one file system', remark)
}

/** Undefined if all is well; a directory that is not there has to be one that can be made. */
function checkDirectory(what: Check['what'], path: string): Check | undefined {
  const stat = lookAt(path)
  if (stat === undefined) {
    const above = existing(dirname(path))
    const problem = checkDirectory(what, above)
    if (problem !== undefined) return problem
    return good(what, path, 'is not there yet; it will be made')
  }
  if (!stat.isDirectory()) return bad(what, path, 'it is no directory', 'move it away, or configure another place')
  const refusal = refusalOf(path, ALL)
  if (refusal === undefined) return undefined
  if (refusal === 'EROFS')
    return bad(what, path, 'its file system is read-only', 'mount it for writing, or configure another place')
  return bad(
    what,
    path,
    `this user (${process.getuid?.()}) may not write it; its owner is user ${stat.uid}, its mode ${(stat.mode & 0o777).toString(8)}`,
    'run as its owner, or correct owner and mode (chown, chmod 700)',
  )
}

/** What the daemon writes itself. */
function checkFile(what: 'log' | 'var', path: string): Check[] {
  const stat = lookAt(path)
  if (stat?.isDirectory())
    return [bad(what, path, 'it is a directory, where a file is needed', 'move it away, or configure another place')]
  if (what === 'var' && (stat?.isCharacterDevice() || stat?.isBlockDevice()))
    return [bad(what, path, 'it is a device, and cannot be the pid file', 'configure another place')]
  if (stat === undefined || mayUse(path, constants.W_OK)) return []
  return [
    bad(what, path, `this user may not write it; its owner is user ${stat.uid}`, 'correct its owner, or move it away'),
  ]
}

function checkMetrics(file: string): Check[] {
  const problem = checkDirectory('metrics', dirname(file))
  const kind = problem === undefined ? notRegularAt(file) : undefined
  if (kind !== undefined)
    return [bad('metrics', file, `it is ${kind}, where a file is needed`, 'set MAILDROP_METRICS to another path')]
  if (problem === undefined) return []
  return [problem.ok ? bad('metrics', dirname(file), 'it is not there', 'make it: the daemon does not') : problem]
}

function notRegularAt(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat && notRegular(stat)
}

function checkCommand(path: string): Check {
  const stat = lookAt(path)
  if (stat === undefined) return bad('hook', path, 'it is not there', 'correct MAILDROP_ON_FAILURE')
  if (stat.isFile() && mayUse(path, constants.X_OK)) return good('hook', path, 'can be run')
  return bad('hook', path, 'it cannot be run by this user', `run: chmod +x ${path}, or correct MAILDROP_ON_FAILURE`)
}

/** The nearest directory above that is there. */
function existing(path: string): string {
  return lookAt(path) === undefined && dirname(path) !== path ? existing(dirname(path)) : path
}

function lookAt(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    // What may not be looked at, or stands below a file, is judged by what is above it.
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(systemCode(error) ?? '')) return undefined
    if (systemCode(error) === 'ELOOP') return lstatSync(path)
    throw error
  }
}

const mayUse = (path: string, mode: number): boolean => refusalOf(path, mode) === undefined

function refusalOf(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode)
    return undefined
  } catch (error) {
    return systemCode(error) ?? messageOf(error)
  }
}
