/**
 * Measuring side by side: each round runs every contender once, and the next one begins with another, A B C B C A …, so that what disturbs the
 * machine disturbs all of them, and nobody always has what another leaves for the disk to do.
 * What is reported is the median of the rounds; a first round, not counted, warms up.
 */
import { performance } from 'node:perf_hooks'

export interface Contender {
  readonly name: string
  /** Done before each run, not timed. */
  prepare?(): unknown
  /** @returns how many things were done */
  run(): number | Promise<number>
}

/** @returns how many things a second each contender does, by its name */
export async function perSecond(contenders: readonly Contender[], rounds: number): Promise<Record<string, number>> {
  const rates = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  for (let round = 0; round <= rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const contender = contenders[(round + turn) % contenders.length]!
      await contender.prepare?.()
      const begun = performance.now()
      const done = await contender.run()
      const rate = (done * 1000) / (performance.now() - begun)
      if (round > 0) rates.get(contender.name)!.push(rate)
    }
  }
  return Object.fromEntries([...rates].map(([name, each]) => [name, median(each)]))
}

/** @returns what each of the calls took, in microseconds */
export async function latencies(calls: number, call: (number: number) => unknown): Promise<number[]> {
  const all: number[] = []
  for (let number = 0; number < calls; number++) {
    const begun = performance.now()
    await call(number)
    all.push((performance.now() - begun) * 1000)
  }
  return all
}

export const median = (values: readonly number[]): number => quantile(values, 0.5)

export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

/** Numbers from 0 to `count` - 1 in an order that looks random and is the same in each run. */
export function shuffled(count: number): number[] {
  const numbers = Array.from({ length: count }, (_, i) => i)
  let state = 1
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    const j = state % (i + 1)
    const other = numbers[j]!
    numbers[j] = numbers[i]!
    numbers[i] = other
  }
  return numbers
}
