/**
 * A run, in the log: it lasts from the first message to the moment when nothing is left, and its end says how many messages came to what.
 */
import type { Disposition } from '../delivery/settle.ts'
import type { Log } from './log.ts'

export interface Run {
  readonly active: boolean
  /**
   * There is a message. Of probes that a server answers as before nothing is said, whether that goes on for minutes or for days.
   * @param works whether the server can be used
   */
  begin(works: boolean): void
  /** True if there was a message since it was asked last: the spools are to be read once more before the run ends. */
  mayGoOn(): boolean
  count(end: Disposition): void
  /** Nothing is left. */
  end(): void
}

/** @param waiting messages that are known to wait */
export function openRun(log: Log, waiting: () => number): Run {
  let active = false
  let since = 0
  let asked = false
  let sent = 0
  let deferred = 0
  let failed = 0
  return {
    get active() {
      return active
    },
    begin(works) {
      asked = false
      if (active || !works) return
      active = true
      since = performance.now()
      sent = deferred = failed = 0
      log.begin()
      log.line('run-begin', { pid: process.pid, waiting: waiting() + 1 })
    },
    mayGoOn() {
      const before = asked
      asked = true
      return !before
    },
    count(end) {
      if (end === 'remove') sent += 1
      else if (end === 'fail') failed += 1
      else deferred += 1
    },
    end() {
      if (active) {
        const ms = Math.round(performance.now() - since)
        log.line('run-end', { pid: process.pid, sent, deferred, failed, ms })
      }
      active = false
      log.end()
    },
  }
}
