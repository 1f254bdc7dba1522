/**
 * Clocks of a test's own: a wrong one for child processes, where what `Date` tells them is shifted, and may be shifted again while they
 * run; and one for this process that makes a database the same at each run.
 */
import crypto, { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { ASKED_SEED } from './properties.ts'

const BEGINNING = Date.UTC(2026, 0, 1)

/**
 * Has `work` see a clock and ids that are the same at each run, so that what it stores is the same, byte for byte, and damage at a place
 * falls on the same bytes. Not with FC_SEED=random, which explores.
 */
export async function repeatably<T>(work: () => Promise<T>): Promise<T> {
  if (ASKED_SEED === 'random') return await work()
  const True = Date
  const { randomBytes } = crypto
  let time = BEGINNING
  let ids = 0
  const now = () => (time += 1)
  globalThis.Date = class extends True {
    constructor(...from: []) {
      super(...(from.length === 0 ? ([now()] as unknown as []) : from))
    }
    static override now = now
  } as DateConstructor
  crypto.randomBytes = ((size: number) =>
    createHash('shake256', { outputLength: size }).update(`${ids++}`).digest()) as typeof randomBytes
  syncBuiltinESMExports()
  try {
    return await work()
  } finally {
    globalThis.Date = True
    crypto.randomBytes = randomBytes
    syncBuiltinESMExports()
  }
}

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
