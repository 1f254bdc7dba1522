/**
 * MAILDROP_RATE: never more than so many messages within any period of that length, over all connections of the daemon.
 *
 * The window slides: a hundred per hour may go at once, and the next one goes an hour after the first. Only attempts
 * count, one for each message. What is to be remembered over a restart is somebody else's (`RateMemory`).
 */
import type { Rate } from '../config.ts'

export interface Throttle {
  /** Milliseconds until the next message may be sent; 0 if it may be now. */
  readonly wait: number
  /** Takes the right to send one message, which has to be used or comes back with `end`. To be called when `wait` is 0. */
  take(): Permit
  readonly status: ThrottleStatus | undefined
  close(): void
}

/** What is known of the messages of an earlier daemon, and made known to a later one. */
export interface RateMemory {
  /** Milliseconds since each message of the period that ends now. */
  readonly ages: readonly number[]
  /** A message is going to be sent. */
  used(): void
  close(): void
}

export interface Permit {
  /** The message is going to be sent. */
  use(): void
  end(): void
}

export interface ThrottleStatus {
  /** As it is configured. */
  readonly limit: string
  /** Messages in the period that ends now. */
  readonly used: number
  /** Seconds until the next message may be sent. */
  readonly wait: number
}

/** @param now milliseconds of a clock that only goes forward */
export function openThrottle(
  rate: Rate | undefined,
  memory: RateMemory = NO_MEMORY,
  now: () => number = () => performance.now(),
): Throttle {
  if (rate === undefined) return { wait: 0, take: () => FREE, status: undefined, close: () => undefined }
  const period = rate.seconds * 1000
  /** When the last so many were sent, in a ring; the oldest stands at `next`. */
  const times = new Float64Array(rate.messages).fill(Number.NEGATIVE_INFINITY)
  const known = memory.ages.map(age => now() - age).sort((a, b) => a - b)
  times.set(known.slice(-rate.messages))
  let next = Math.min(known.length, rate.messages) % rate.messages
  const wait = (): number => Math.max(0, times[next]! + period - now())

  return {
    get wait() {
      return wait()
    },
    take() {
      times[next] = now()
      next = (next + 1) % rate.messages
      let open = true
      return {
        use() {
          open = false
          memory.used()
        },
        end() {
          if (!open) return
          open = false
          next = (next + rate.messages - 1) % rate.messages
          times[next] = Number.NEGATIVE_INFINITY
        },
      }
    },
    get status() {
      const since = now() - period
      return { limit: rate.text, used: times.filter(time => time > since).length, wait: Math.ceil(wait() / 1000) }
    },
    close: () => memory.close(),
  }
}

const FREE: Permit = { use: () => undefined, end: () => undefined }
const NO_MEMORY: RateMemory = { ages: [], used: () => undefined, close: () => undefined }
