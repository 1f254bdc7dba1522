/**
 * Starting and stopping the daemon from another process.
 *
 * Both return when it is so: started means ready to deliver, stopped means gone. Only the process that the pid file
 * identifies is ever signalled.
 */
import { spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MaildropConfig } from '../config.ts'
import { explained, MaildropError, systemCode } from '../errors.ts'
import { liveness, type ProcessIdentity } from '../process-identity.ts'
import type { StartReport } from './detached.ts'
import { endingOf } from './ending.ts'
import { STOP_GRACE } from './grace.ts'
import { readPidFile } from './pid-file.ts'

/** Milliseconds that a daemon gets to become ready, or to go beyond its own grace period. */
const PATIENCE = 30_000
/** Characters of what it says while it starts. */
const MAX_COMPLAINT = 16_384

/**
 * Starts a detached daemon, with this process's environment and working directory.
 * @returns its pid
 * @throws {MaildropError} ALREADY_RUNNING, START_FAILED with the daemon's reason
 */
export async function startDetached(config: MaildropConfig): Promise<number> {
  const found = readPidFile(config.pidFile)
  if (found.kind === 'running') {
    throw new MaildropError('ALREADY_RUNNING', `already running with pid ${found.identity.pid} (${config.pidFile})`)
  }
  const { DETACHED_ENTRY } = await import('./detached.ts')
  const child = spawn(process.execPath, [...process.execArgv, DETACHED_ENTRY, config.file], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let complaint = ''
  child.stderr?.on('data', chunk => {
    complaint = `${complaint}${chunk}`.slice(0, MAX_COMPLAINT)
  })
  const problem = await new Promise<string | undefined>(resolve => {
    child.once('message', (report: StartReport) => resolve(report.ready ? undefined : report.problem))
    child.once('error', error => resolve(explained(error)))
    child.once('close', (code, signal) => resolve(endingOf(code, signal, complaint)))
    setTimeout(() => resolve(`no answer after ${PATIENCE / 1000} seconds`), PATIENCE).unref()
  })
  if (child.connected) child.disconnect()
  child.stderr?.destroy()
  child.unref()
  if (problem === undefined && child.pid !== undefined) return child.pid
  if (problem?.startsWith('already running')) throw new MaildropError('ALREADY_RUNNING', problem)
  if (child.exitCode === null) child.kill('SIGTERM')
  throw new MaildropError('START_FAILED', `the daemon did not start: ${problem}`)
}

/** Milliseconds after which a daemon that was told to stop hangs, and for which the system gets to end it then. */
export const STOP_LIMIT = STOP_GRACE + PATIENCE
const END_LIMIT = 5000

/** A daemon that was running. */
export interface Stopped {
  readonly pid: number
  /** True if it hung, and was ended without being asked any more. */
  readonly killed: boolean
}

/**
 * Stops the daemon: it finishes what it has begun. One that stands still (SIGSTOP) goes on to do so; one that hangs is killed.
 * @param limit milliseconds after which it hangs
 * @returns undefined if none was running
 * @throws {MaildropError} STOP_FAILED
 */
export async function stopDaemon(
  config: Pick<MaildropConfig, 'pidFile'>,
  limit = STOP_LIMIT,
): Promise<Stopped | undefined> {
  const found = readPidFile(config.pidFile)
  if (found.kind === 'unverifiable') {
    throw new MaildropError(
      'STOP_FAILED',
      `${config.pidFile} belongs to pid ${found.identity.pid} on ${found.identity.host}, which cannot be seen from here; stop it there`,
    )
  }
  if (found.kind !== 'running') return undefined
  const { identity } = found
  const { pid } = identity
  signal(identity, ['SIGTERM', 'SIGCONT'])
  if (await ends(identity, limit)) return { pid, killed: false }
  signal(identity, ['SIGKILL'])
  if (await ends(identity, END_LIMIT)) return { pid, killed: true }
  const text = `pid ${pid} cannot be ended, even by SIGKILL: it waits for a disk or a file system of the network that does not answer`
  throw new MaildropError('STOP_FAILED', text)
}

/** Whoever it is that has got the pid of a process that has ended is not signalled. */
function signal(identity: ProcessIdentity, names: readonly NodeJS.Signals[]): void {
  const { pid } = identity
  try {
    for (const name of names) if (liveness(identity) === 'alive') process.kill(pid, name)
  } catch (cause) {
    if (systemCode(cause) === 'ESRCH') return
    throw new MaildropError('STOP_FAILED', `cannot signal pid ${pid}; run as the user who started the daemon`, {
      cause,
    })
  }
}

/** @returns false if it runs on after `limit` milliseconds */
async function ends(identity: ProcessIdentity, limit: number): Promise<boolean> {
  const deadline = performance.now() + limit
  while (liveness(identity) === 'alive') {
    if (performance.now() > deadline) return false
    await sleep(20)
  }
  return true
}
