/**
 * The stall alarm: mail is due and nothing has come of anything for MAILDROP_STALL_ALARM, whatever the reason.
 */
import type { Log } from './log.ts'
import { isVerdict, type LogEvent } from './log-events.ts'

export interface Stall {
  /** Takes notice of a line of the log: a verdict about any recipient is movement. */
  saw(event: LogEvent): void
  /**
   * To be called every second or so.
   * @param waiting messages that are due
   * @param limit seconds
   * @param why asked what is known to be wrong
   */
  look(waiting: number, limit: number, why: () => string | undefined): void
  /** Seconds for which nothing has moved, while there is an alarm; 0 if there is none. */
  readonly seconds: number
}

/** @param now milliseconds of a clock that only goes forward */
export function openStall(log: () => Log, now: () => number = () => performance.now()): Stall {
  let since = now()
  let alarmed = false
  const seconds = (): number => Math.round((now() - since) / 1000)

  const moved = (): void => {
    if (alarmed) log().line('stall-end', { after: seconds() })
    alarmed = false
    since = now()
  }

  return {
    saw(event) {
      if (isVerdict(event)) moved()
    },
    look(waiting, limit, why) {
      if (waiting === 0) moved()
      else if (!alarmed && now() - since >= limit * 1000) {
        alarmed = true
        log().line('stall', { waiting, after: seconds(), text: why() })
      }
    },
    get seconds() {
      return alarmed ? seconds() : 0
    },
  }
}
