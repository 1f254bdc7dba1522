/**
 * A wrong clock for child processes: what `Date` tells them is shifted, and may be shifted again while they run.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

export interface WrongClock {
  /** What the child's environment needs. */
  readonly env: { readonly NODE_OPTIONS: string }
  /** Sets the clock so many milliseconds away from the true time. */
  set(shift: number): void
}

/** @param directory where the shift is written */
export function wrongClock(directory: string, shift = 0): WrongClock {
  const file = join(directory, 'clock-shift')
  const set = (ms: number): void => writeFileSync(file, String(ms))
  set(shift)
  const code = `import { readFileSync } from 'node:fs'
    const True = Date
    const now = () => True.now() + Number(readFileSync(${JSON.stringify(file)}, 'utf8'))
    globalThis.Date = class Date extends True {
      constructor(...from) { from.length === 0 ? super(now()) : super(...from) }
      static now() { return now() }
    }`
  return { env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(code)}` }, set }
}
