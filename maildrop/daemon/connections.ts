/**
 * The open connections to one server. What a failure to open one means is decided here: while others are open the server has as many as it
 * takes, and otherwise it cannot be used.
 */
import { setMaxListeners } from 'node:events'
import type { MaildropConfig } from '../config.ts'
import type { Silence } from '../delivery/dialogue.ts'
import { openRelay, relayName } from '../delivery/relay.ts'
import { type Session, SessionError } from '../delivery/session.ts'
import type { Destination } from './destination.ts'
import type { Log } from './log.ts'

export interface Connections {
  readonly open: number
  /** What the server has owed for the longest time, also over those that are being opened; undefined if nothing. */
  readonly silence: Silence | undefined
  /** How many there may be now, of so many that the destination allows. */
  limit(allowance: number): number
  /** Opens one; undefined if the server takes no more, or cannot be used. */
  connect(): Promise<Session | undefined>
  /** The server does its work over this one. */
  answered(session: Session): void
  close(session: Session): void
  /** Opens none from now on, also those that are being opened. */
  stop(): void
  /** Breaks off whatever is in transfer. */
  abort(): void
}

/** Milliseconds for which no further connection is tried after the server refused one while others work. */
const CROWDED_TIME = 5000

const STOPPED = 'the daemon was stopped'

export function openConnections(config: MaildropConfig, log: Log, destination: Destination): Connections {
  const name = relayName(config)
  const relay = openRelay(config)
  const sessions = new Set<Session>()
  /** Those of which the log says nothing yet, because the server could not be used before. */
  const untold = new Set<Session>()
  const connecting = new AbortController()
  setMaxListeners(0, connecting.signal)
  let crowdedUntil = 0

  const tellOf = ({ protection }: Session): void =>
    log.line('connected', { relay: name, protection, login: config.smtp.login?.user })

  return {
    get open() {
      return sessions.size
    },
    get silence() {
      return relay.silence
    },
    limit(allowance) {
      const crowded = sessions.size > 0 && performance.now() < crowdedUntil
      return crowded ? sessions.size : allowance
    },
    async connect() {
      try {
        const session = await relay.open(connecting.signal)
        if (destination.status.state === 'up') tellOf(session)
        else untold.add(session)
        sessions.add(session)
        session.closed.then(() => {
          sessions.delete(session)
          untold.delete(session)
        })
        return session
      } catch (error) {
        if (!(error instanceof SessionError)) throw error
        if (connecting.signal.aborted) return undefined
        if (sessions.size > 0) crowdedUntil = performance.now() + CROWDED_TIME
        else destination.failed(error.event)
        return undefined
      }
    },
    answered(session) {
      if (untold.delete(session)) tellOf(session)
    },
    close(session) {
      sessions.delete(session)
      session.quit()
    },
    stop: () => connecting.abort(new Error(STOPPED)),
    abort() {
      for (const session of sessions) session.abort(STOPPED)
    },
  }
}
