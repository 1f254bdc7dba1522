/** Long work in an application's process, which has other things to do. */
import { pauses } from '../lib/index.ts'

/** @returns what to await at each step: lets others run from time to time, and ends the work when the user wants no more */
export function considerate(signal: AbortSignal): () => Promise<void> {
  const pause = pauses()
  return async () => {
    signal.throwIfAborted()
    await pause()
  }
}
