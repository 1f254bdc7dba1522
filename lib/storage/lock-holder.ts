/**
 * Who holds a LevelDB directory's lock, so that the message can say it. Reads Linux's /proc/locks; elsewhere nobody is named.
 */
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface LockHolder {
  readonly pid: number
  readonly command: string
}

/** The process that has the database in `directory` open; undefined where the system does not tell. */
export function lockHolder(directory: string): LockHolder | undefined {
  try {
    const { ino } = statSync(join(directory, 'LOCK'))
    for (const line of readFileSync('/proc/locks', 'utf8').split('\n')) {
      const [, , , , pid, file] = line.trim().split(/\s+/)
      if (pid === undefined || file?.split(':')[2] !== String(ino)) continue
      return { pid: Number(pid), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim() }
    }
  } catch {
    // no /proc here, or the process has just gone
  }
  return undefined
}
