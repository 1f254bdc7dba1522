/**
 * Has what large messages leave behind collected while they are read. V8 collects young objects when enough of them are on
 * its heap; the pieces of a file are small objects there, with much memory elsewhere, so that it waits for tens of megabytes
 * of it. A minor collection takes about a millisecond.
 *
 * Node has no function for that, only the flag that makes V8 provide one. Without it memory grows as if this were not here.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** Bytes between two collections. */
const INTERVAL = 4 * 1024 * 1024

let collect: ((options: { type: 'minor' }) => void) | undefined
let sinceLast = 0

/** So many bytes have been allocated for pieces that are used only once. */
export function discarding(bytes: number): void {
  sinceLast += bytes
  if (sinceLast < INTERVAL) return
  sinceLast = 0
  collect ??= minorCollection()
  collect({ type: 'minor' })
}

function minorCollection(): NonNullable<typeof collect> {
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('globalThis.gc')
  return typeof gc === 'function' ? (gc as NonNullable<typeof collect>) : () => undefined
}
