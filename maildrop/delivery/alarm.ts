/**
 * A deadline that is moved several times for every message, which costs no timer each time: one that has been started for
 * an earlier end looks, when it fires, how long there is still to wait.
 */
export interface Alarm {
  /** Calls `passed` in `limit` milliseconds, in place of what it was set for before. */
  set(limit: number, passed: () => void): void
  /** Calls nothing. */
  clear(): void
  /** The same, and lets the process end. */
  close(): void
}

/** What a timer can wait for, in milliseconds. */
const LONGEST = 2 ** 31 - 1
const NEVER = Number.POSITIVE_INFINITY

export function openAlarm(): Alarm {
  let due = NEVER
  let passed: () => void = () => undefined
  let timer: NodeJS.Timeout | undefined
  let fires = NEVER

  const start = (ms: number): void => {
    const wait = Math.min(ms, LONGEST)
    clearTimeout(timer)
    fires = performance.now() + wait
    timer = setTimeout(look, wait)
  }
  const look = (): void => {
    fires = NEVER
    if (due === NEVER) return
    const left = due - performance.now()
    if (left > 0) start(left)
    else {
      due = NEVER
      passed()
    }
  }

  return {
    set(limit, then) {
      due = performance.now() + limit
      passed = then
      if (due < fires) start(limit)
    },
    clear() {
      due = NEVER
    },
    close() {
      due = NEVER
      fires = NEVER
      clearTimeout(timer)
    },
  }
}
