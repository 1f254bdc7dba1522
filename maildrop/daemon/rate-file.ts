/**
 * What MAILDROP_RATE has counted, written down for the next daemon: `maildrop.rate` beside the log.
 *
 *     100/h
 *     1764270123456
 *     1764270124001
 *
 * The limit, then when each message went, in milliseconds since 1970. A line is appended before its message goes, so a daemon that
 * is killed forgets none; half a line is one of long ago. A file of another limit does not count. It is written anew, by a
 * rename, when most of it is older than the period. One that cannot be written stops no mail: that is said once.
 */
import { closeSync, constants, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Rate } from '../config.ts'
import { messageOf } from '../errors.ts'
import { ensureDirectory } from '../spool/sync.ts'
import type { Log } from './log.ts'
import type { RateMemory } from './throttle.ts'

/** Lines beyond twice the limit after which the file is written anew. */
const SPARE = 1000

export function openRateFile(path: string, rate: Rate, log: Log): RateMemory {
  const period = rate.seconds * 1000
  let fd: number | undefined
  let lines = 0
  let complained = false

  const recent = (): number[] => {
    const now = Date.now()
    return timesIn(path, rate.text).filter(time => now - time < period)
  }

  const close = (): void => {
    if (fd !== undefined) closeSync(fd)
    fd = undefined
  }

  const begin = (): number => {
    close()
    const times = recent()
    ensureDirectory(dirname(path))
    writeFileSync(`${path}.new`, `${[rate.text, ...times].join('\n')}\n`, { mode: 0o600 })
    renameSync(`${path}.new`, path)
    lines = times.length
    fd = openSync(path, constants.O_WRONLY | constants.O_APPEND)
    return fd
  }

  return {
    // The clock may have been set back since.
    get ages() {
      const now = Date.now()
      return recent().map(time => Math.max(0, now - time))
    },
    used() {
      try {
        writeSync(fd === undefined || lines > 2 * rate.messages + SPARE ? begin() : fd, `${Date.now()}\n`)
        lines += 1
        complained = false
      } catch (error) {
        if (!complained) log.line('rate-failed', { text: messageOf(error) })
        complained = true
        close()
      }
    },
    close,
  }
}

function timesIn(path: string, limit: string): number[] {
  try {
    const [first, ...lines] = readFileSync(path, 'utf8').split('\n')
    return first === limit ? lines.filter(line => /^\d{1,15}$/.test(line)).map(Number) : []
  } catch {
    return []
  }
}
