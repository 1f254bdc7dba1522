/**
 * Waiting in tests: for a condition, never for a fixed time.
 */
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Polls until `check` gives something other than undefined, null or false, and returns that.
 * @param what what is waited for, for the error
 * @param timeout milliseconds, generous
 */
export async function waitFor<T>(
  what: string,
  check: () => T | undefined | null | false | Promise<T | undefined | null | false>,
  timeout = 120_000,
): Promise<T> {
  const deadline = performance.now() + timeout
  for (;;) {
    const value = await check()
    if (value !== undefined && value !== null && value !== false) return value
    if (performance.now() > deadline) throw new Error(`waited ${timeout} ms in vain for ${what}`)
    await sleep(10)
  }
}
