/** Waiting until everything that can be delivered now has been. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MaildropError } from '../errors.ts'
import type { Generation } from './generation.ts'

/** Milliseconds between two looks, and for which files still being written are waited for. */
const LOOK = 50
const UNSETTLED = 12_000
/** Milliseconds that it waits at most until MAILDROP_RATE allows the next message. */
const PERMITTED = 60_000

/**
 * @param current the generation that delivers now
 * @param stopping true once the daemon is ending
 * @throws {MaildropError} NOT_RUNNING if the daemon is stopped before
 */
export async function untilDelivered(current: () => Generation, stopping: () => boolean): Promise<void> {
  let moved = performance.now()
  // Once nothing is left, a scan finds what has come by other ways than a notification. What it only looks at (a locked file) is no reason for another.
  let scanned = false
  for (;;) {
    await sleep(LOOK)
    if (stopping()) throw new MaildropError('NOT_RUNNING', 'the daemon was stopped meanwhile')
    const { lanes: all, throttle } = current()
    const lanes = all.filter(({ destination }) => destination.status.state !== 'down')
    if (lanes.length === 0) return
    const sources = lanes.flatMap(lane => lane.sources).filter(({ trouble }) => trouble.text === undefined)
    const busy = sum(lanes, ({ workers }) => workers.busy)
    if (busy === 0 && throttle.wait > PERMITTED) return
    if (sum(sources, ({ intake }) => intake.backlog) + busy > 0) {
      moved = performance.now()
      if (busy > 0) scanned = false
    } else if (sum(sources, ({ intake }) => intake.unsettled) === 0 || performance.now() - moved > UNSETTLED) {
      if (scanned) return
      scanned = true
      for (const { intake } of sources) intake.scan()
    }
  }
}

export function sum<T>(items: Iterable<T>, of: (item: T) => number): number {
  let total = 0
  for (const item of items) total += of(item)
  return total
}
