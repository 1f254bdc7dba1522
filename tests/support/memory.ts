/** What a process holds in memory, without what the next garbage collection would free. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

setFlagsFromString('--expose-gc')
export const collectGarbage = runInNewContext('gc') as () => void

/** Bytes of live objects and buffers. */
function liveBytes(): number {
  collectGarbage()
  // buffers are counted until the collection after the one that found them
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** By how many bytes what is live grows after the first look. */
export function watchMemory(): { look(): void; readonly growth: number } {
  let first: number | undefined
  let most = 0
  return {
    look() {
      const now = liveBytes()
      first ??= now
      most = Math.max(most, now - first)
    },
    get growth() {
      return most
    },
  }
}
