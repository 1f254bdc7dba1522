/**
 * The named points of a message's way, published on diagnostics channels as they are passed.
 *
 * Subscribers run synchronously, inside the step: a monitor can count, a test can end the process exactly there.
 * Without a subscriber a step costs next to nothing. A subscriber that throws does not disturb delivery
 * (Node reports it as an uncaught exception of its own).
 */
import { channel } from 'node:diagnostics_channel'

/** Steps of the writing side, on `maildrophost:spool`. `held-written` comes after the fsync of the file. */
export type SpoolStep = 'held-written' | 'held-synced' | 'released' | 'spool-synced' | 'held-discarded'

/**
 * Steps of the daemon, on `maildrophost:daemon`, in the order in which a message passes them. `sending` is published
 * between the journal record and the final dot; `accepted` when the server has taken the message, before any record of it. `appending` follows each piece that goes into a mailbox of one file. The steps of a notice carry the id of the
 * message that failed.
 */
export type DaemonStep =
  | 'claimed'
  | 'sending'
  | 'accepted'
  | 'appending'
  | 'notice-held'
  | 'state-written'
  | 'notice-released'
  | 'deferred'
  | 'held'
  | 'reason-written'
  | 'failed'
  | 'removed'
  | 'state-removed'
  | 'taken-back'

export interface StepMessage<Step extends string> {
  readonly step: Step
  readonly id: string
}

export const SPOOL_CHANNEL = 'maildrophost:spool'
export const DAEMON_CHANNEL = 'maildrophost:daemon'

const spool = channel(SPOOL_CHANNEL)
const daemon = channel(DAEMON_CHANNEL)

export function spoolStep(step: SpoolStep, id: string): void {
  if (spool.hasSubscribers) spool.publish({ step, id } satisfies StepMessage<SpoolStep>)
}

export function daemonStep(step: DaemonStep, id: string): void {
  if (daemon.hasSubscribers) daemon.publish({ step, id } satisfies StepMessage<DaemonStep>)
}
