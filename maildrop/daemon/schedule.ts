/**
 * What waits for its time in `.deferred`, in the order in which it becomes due.
 *
 * The directory is read once and then followed by notifications, so a message that becomes due costs the same among a
 * hundred thousand others. Where there are no notifications the directory is read again when something of ours is due;
 * reading it now and then anyway is the caller's.
 */
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { LONGEST_DELAY } from '../delivery/backoff.ts'
import { type Deferred, parseDeferredName } from '../spool/layout.ts'

export interface Schedule {
  /** Reads the directory. */
  scan(): void
  /** A notification was about this name: it came or went. */
  note(name: string): void
  /** Something will be there that is due then, in milliseconds since 1970; only needed where nothing is notified. */
  expect(due: number): void
  /** To be called a few times per second: hands out what has become due. */
  tick(): void
}

interface Entry {
  readonly name: string
  readonly due: number
}

/** Milliseconds by which a clock has to go back to count as set back. */
const SET_BACK = 60_000

/** @param onDue called with each name that is due; more than once, perhaps, and perhaps when it is gone again */
export function openSchedule(directory: string, onDue: (name: string) => void): Schedule {
  /** The soonest last. */
  let later: Entry[] = []
  let expected = Number.POSITIVE_INFINITY
  let clock = Date.now()

  /** Where an entry stands, or would stand. */
  const placeOf = (entry: Entry): number => {
    let low = 0
    let high = later.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (byTime(later[middle]!, entry) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  const scan = (): void => {
    expected = Number.POSITIVE_INFINITY
    const now = Date.now()
    const all = readdirSync(directory).flatMap(name => {
      const deferred = parseDeferredName(name)
      return deferred === undefined ? [] : [{ name, deferred }]
    })
    const due = all.filter(({ deferred }) => isDue(deferred, now)).map(entryOf)
    later = all
      .filter(({ deferred }) => !isDue(deferred, now))
      .map(entryOf)
      .sort(byTime)
    for (const { name } of due.sort(byTime).reverse()) onDue(name)
  }

  return {
    scan,
    note(name) {
      const deferred = parseDeferredName(name)
      if (deferred === undefined) return
      if (isDue(deferred, Date.now())) {
        if (existsSync(join(directory, name))) onDue(name)
        return
      }
      const entry = entryOf({ name, deferred })
      const place = placeOf(entry)
      if (later[place]?.name !== name) later.splice(place, 0, entry)
    },
    expect(due) {
      expected = Math.min(expected, due)
    },
    tick() {
      const now = Date.now()
      const isSetBack = now < clock - SET_BACK
      clock = now
      if (isSetBack || now >= expected) scan()
      for (let next = later.at(-1); next !== undefined && next.due <= now; next = later.at(-1)) {
        later.pop()
        onDue(next.name)
      }
    },
  }
}

const entryOf = ({ name, deferred }: { name: string; deferred: Deferred }): Entry => ({ name, due: deferred.due })

function byTime(a: Entry, b: Entry): number {
  return b.due - a.due || (a.name < b.name ? 1 : a.name > b.name ? -1 : 0)
}

/** A clock that is set back postpones no retry: none is ever as far away as one that it has made so. */
function isDue({ due, scheduled }: Deferred, now: number): boolean {
  return due <= now || (!scheduled && due > now + LONGEST_DELAY)
}
