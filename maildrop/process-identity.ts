/**
 * Who a process is, in a form that outlives it: a pid alone is reused, so the time it started at, the boot of the
 * machine and the pid namespace belong to it. Linux tells them under /proc.
 *
 * Where that is not possible (no /proc, another machine or container on a shared file system) the answer about a
 * process is 'unknown', never a guess.
 */
import { readFileSync, readlinkSync } from 'node:fs'
import { hostname } from 'node:os'
import { systemCode } from './errors.ts'

export interface ProcessIdentity {
  readonly pid: number
  /** When the process started, in clock ticks since boot; '-' where it cannot be told. */
  readonly start: string
  readonly boot: string
  readonly namespace: string
  readonly host: string
}

/** The identity of this process. */
export function ownIdentity(): ProcessIdentity {
  return { pid: process.pid, start: startOf(process.pid)?.start ?? '-', ...place() }
}

/** Whether the process still runs; 'unknown' if it cannot be seen from here. */
export function liveness(identity: ProcessIdentity): 'alive' | 'dead' | 'unknown' {
  const here = place()
  const isVisible = here.boot !== '-' && here.namespace === identity.namespace && identity.start !== '-'
  if (!isVisible) return 'unknown'
  const found = startOf(identity.pid)
  if (found === undefined && isHidden(identity.pid)) return 'unknown'
  const runs = found !== undefined && found.start === identity.start && found.state !== 'Z'
  if (here.boot === identity.boot) return runs ? 'alive' : 'dead'
  return runs && isMaildrop(identity.pid) ? 'alive' : 'unknown'
}

/** True of a process of this machine that ended, at the latest, when the machine was started again. */
export function isBeforeBoot(identity: ProcessIdentity): boolean {
  const here = place()
  return identity.host === here.host && identity.boot !== here.boot && liveness(identity) === 'unknown'
}

/** True of a process of another user where /proc shows only one's own (its option hidepid, ProtectProc of systemd). */
function isHidden(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return systemCode(error) === 'EPERM'
  }
}

/**
 * Within one container the boot can look different from within a service (systemd with ProtectKernelTunables) and from outside it.
 * A process that has the pid, the start and a command line as expected is taken for the one that is meant.
 */
function isMaildrop(pid: number): boolean {
  return /maildrop/.test(orDash(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')))
}

/** One line without blanks or slashes, fit for a file name. */
export function formatIdentity(identity: ProcessIdentity): string {
  return [identity.pid, identity.start, identity.boot, identity.namespace, identity.host].join('_')
}

/** @returns undefined if the text is not an identity */
export function parseIdentity(text: string): ProcessIdentity | undefined {
  const [, pid, start, boot, namespace, host] =
    /^([1-9]\d{0,9})_(\d+|-)_([0-9a-f]+|-)_(\d+|-)_([a-z0-9.-]*)$/.exec(text) ?? []
  if (!pid || !start || !boot || !namespace || host === undefined) return undefined
  return { pid: Number(pid), start, boot, namespace, host }
}

function place(): Omit<ProcessIdentity, 'pid' | 'start'> {
  return {
    boot: orDash(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').replace(/[^0-9a-f]/g, '')),
    namespace: orDash(() => readlinkSync('/proc/self/ns/pid').replace(/\D/g, '')),
    host: hostname()
      .toLowerCase()
      .replace(/[^a-z0-9.-]/g, '-')
      .slice(0, 64),
  }
}

/** Fields 3 and 22 of /proc/<pid>/stat; the name of the command, field 2, may contain blanks and parentheses. */
function startOf(pid: number): { state: string; start: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', start: fields[19] ?? '-' }
  } catch {
    return undefined
  }
}

function orDash(read: () => string): string {
  try {
    return read() || '-'
  } catch {
    return '-'
  }
}
