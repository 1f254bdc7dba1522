/** Long work in one turn would hold up all others in the process: it gives them a turn from time to time. */
import { setImmediate as nextTurn } from 'node:timers/promises'

/** Milliseconds that work may go on before it lets others run. */
const SLICE = 2

/** @returns what to await wherever the work can be left: lets others run once the slice is over */
export function pauses(): () => Promise<void> | undefined {
  let since = performance.now()
  return () => {
    if (performance.now() - since < SLICE) return undefined
    return nextTurn().then(() => {
      since = performance.now()
    })
  }
}
