/**
 * What a worker takes beside the message it sends: the next one is claimed and made ready while the server is waited for, and its
 * envelope goes out in one packet with the message before it.
 *
 *     fill ──▶ ready ──(following)──▶ begun ──▶ take
 *
 * Nothing of it is in the journal before its own final dot, so it can be given back at any time, and after a kill it is
 * sent as if it had only been claimed. The connection of one that has begun and is given back has to be closed.
 */
import type { Parcel } from '../delivery/parcel.ts'
import type { Session } from '../delivery/session.ts'
import type { Job } from './job.ts'
import type { Load } from './transaction.ts'

/** A claimed message, ready for a session if there is something to be sent. */
export interface Taken<Source> {
  readonly job: Job
  readonly source: Source
  readonly load: Load | undefined
}

export interface Ahead<Source> {
  /** Messages that are held. */
  readonly size: number
  /** True while an envelope is on its way. */
  readonly begun: boolean
  /** Takes the next message for this session, unless there is one. */
  fill(session: Session): void
  /** The parcel to begin behind a message that is just being written to this session. */
  following(session: Session): Parcel | undefined
  /** The message to go on with. */
  take(): Promise<Taken<Source> | undefined>
  /** Gives everything back. */
  drop(): Promise<void>
}

/**
 * @param claim claims the next message, if there is one, and makes it ready; never throws
 * @param giveBack puts it where it was
 */
export function openAhead<Source>(
  claim: (session: Session) => Promise<Taken<Source> | undefined>,
  giveBack: (job: Job) => Promise<void>,
): Ahead<Source> {
  let filling: Promise<void> | undefined
  let ready: Taken<Source> | undefined
  let begun: Taken<Source> | undefined

  const fill = (session: Session): void => {
    if (ready !== undefined || filling !== undefined) return
    filling = claim(session).then(taken => {
      ready = taken
      filling = undefined
    })
  }

  return {
    get size() {
      return Number(filling !== undefined) + Number(ready !== undefined) + Number(begun !== undefined)
    },
    get begun() {
      return begun !== undefined
    },
    fill,
    following(session) {
      if (begun !== undefined || ready?.load?.session !== session) return undefined
      begun = ready
      ready = undefined
      return begun.load?.parcel
    },
    async take() {
      if (begun === undefined && filling !== undefined) await filling
      const taken = begun ?? ready
      if (begun === undefined) ready = undefined
      begun = undefined
      return taken
    },
    async drop() {
      const held = [begun, ready]
      begun = undefined
      ready = undefined
      await filling
      held.push(ready)
      ready = undefined
      for (const taken of held) if (taken !== undefined) await giveBack(taken.job)
    },
  }
}
