/**
 * When to try again: the delays, as data.
 */

/** Seconds until the next attempt after the first, second, … one; the last is repeated. */
export const RETRY_DELAYS = [60, 300, 900, 1800, 3600, 7200, 14_400] as const

/** Seconds until the next try to reach a server that cannot be used; the last is repeated. */
export const PROBE_DELAYS = [1, 2, 3, 5] as const

/** Seconds until a message is tried again at which the server could not be used, after its first, second, … transaction. */
export const INTERRUPTED_DELAYS = [5, 5, 10, 30, 60] as const

/** Delays vary by this part of themselves, so that messages deferred together do not come back together. */
const JITTER = 0.2

/** Milliseconds that no retry is ever further away: a message that is due later was deferred by a clock that was wrong. */
export const LONGEST_DELAY = Math.max(...RETRY_DELAYS) * (1 + JITTER) * 1000 + 60_000

/**
 * @param delays in seconds
 * @param attempts attempts made so far, at least 1
 * @param random from 0 to 1
 * @returns seconds to wait
 */
export function delayAfter(delays: readonly number[], attempts: number, random = Math.random()): number {
  const delay = delays[Math.min(attempts, delays.length) - 1] ?? 0
  return delay * (1 + JITTER * (2 * random - 1))
}
