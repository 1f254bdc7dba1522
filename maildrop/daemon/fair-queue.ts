/**
 * Names of files that wait, handed out in turn for each sender: a hundred thousand of one do not delay a single one of another.
 *
 *     add ──▶ unsorted ──(a look into the file)──▶ lane of its sender ──(lanes in turn)──▶ take
 *
 * With every name that is taken a few others are sorted, so no pass over a large backlog holds up the first message, and
 * names that are added later are sorted beside the old ones. There is a fixed number of lanes, so memory holds names and
 * nothing for each sender; senders that share a lane share their turns. Within a lane, first come first served.
 */
import { openFifo } from './fifo.ts'

export interface FairQueue {
  readonly size: number
  /** Adds a name, unless it is there already. One that has been taken is added when that is over. */
  add(name: string): void
  /** Adds a name that has been taken before all others. */
  putBack(name: string): void
  /** Removes the name whose turn it is, until `putBack` or `done`. */
  take(): string | undefined
  /** A name that has been taken has been dealt with, and means another file from now on. */
  done(name: string): void
}

const LANES = 1024
/** Names that are sorted with each one taken: so many of the oldest, and of the newest half. */
const SORTED_AT_ONCE = 8

/** @param senderOf looks into a file; any text does for one that cannot be read */
export function openFairQueue(senderOf: (name: string) => string): FairQueue {
  const names = new Set<string>()
  /** Names that have been taken, and whether they have been added since. */
  const taken = new Map<string, boolean>()
  const backlog = openFifo<string>()
  const arrivals = openFifo<string>()
  const returned: string[] = []
  /** In the order of their turns. */
  const lanes = new Map<number, ReturnType<typeof openFifo<string>>>()

  const sort = (from: typeof backlog): void => {
    for (let i = 0; i < SORTED_AT_ONCE; i++) {
      const name = from.shift()
      if (name === undefined) return
      const lane = hash(senderOf(name)) % LANES
      const queue = lanes.get(lane) ?? openFifo<string>()
      queue.push(name)
      lanes.set(lane, queue)
    }
  }

  const takeSorted = (): string | undefined => {
    for (const [lane, queue] of lanes) {
      const name = queue.shift()
      lanes.delete(lane)
      if (queue.size > 0) lanes.set(lane, queue)
      return name
    }
    return undefined
  }

  const next = (): string | undefined => {
    if (returned.length > 0) return returned.pop()
    // Nobody has to be asked whose turn it is.
    if (names.size > 1) {
      sort(backlog)
      sort(arrivals)
    }
    return takeSorted() ?? backlog.shift() ?? arrivals.shift()
  }

  const add = (name: string): void => {
    if (names.has(name)) return
    if (taken.has(name)) {
      taken.set(name, true)
      return
    }
    names.add(name)
    // What comes while much waits is sorted beside it, not behind it.
    if (backlog.size > SORTED_AT_ONCE) arrivals.push(name)
    else backlog.push(name)
  }

  return {
    get size() {
      return names.size
    },
    add,
    putBack(name) {
      taken.delete(name)
      if (names.has(name)) return
      names.add(name)
      returned.push(name)
    },
    take() {
      const name = next()
      if (name !== undefined) {
        names.delete(name)
        taken.set(name, false)
      }
      return name
    },
    done(name) {
      const again = taken.get(name)
      taken.delete(name)
      if (again) add(name)
    },
  }
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193)
  return value >>> 0
}
