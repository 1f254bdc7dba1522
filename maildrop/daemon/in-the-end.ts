/**
 * Writing down what became of a message, in the end: while it is impossible (a full disk), it is tried again every second. Until it is
 * written, the message stays claimed and goes to nobody.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { record } from '../delivery/record.ts'
import { MaildropError, messageOf } from '../errors.ts'
import type { Claim } from '../spool/claim.ts'
import type { MailState } from '../spool/state.ts'
import type { Log } from './log.ts'

export interface Patience {
  readonly log: Log
  /** True once the daemon is ending, when nothing is to be waited for. */
  stopping(): boolean
  /** Takes over what goes on beside the work, in this spool because of this error; resolves when there is room for more of that. */
  park(work: Promise<void>, spool: string, error: unknown): Promise<void>
}

/** Records a state. @param known whether one is on disk, and when the message is due again */
export async function recordInTheEnd(
  claim: Claim,
  state: MailState,
  known: { readonly onDisk: boolean; readonly due: number },
  patience: Patience,
): Promise<void> {
  await inTheEnd(claim, () => record(claim, state, known), patience)
}

/** Resolves when it is written, or parked: a connection does not wait for a disk. */
export async function inTheEnd(claim: Claim, write: () => unknown, { log, stopping, park }: Patience): Promise<void> {
  let last = ''
  const mayFail = (error: unknown): boolean => {
    const text = messageOf(error)
    if (text !== last) log.line('record-failed', { id: claim.id, text })
    last = text
    return stopping() || (error instanceof MaildropError && error.code === 'CLAIM_LOST')
  }
  const tryOn = async (): Promise<void> => {
    for (;;) {
      await sleep(1000)
      try {
        return void (await write())
      } catch (error) {
        if (mayFail(error)) return
      }
    }
  }
  try {
    await write()
  } catch (error) {
    if (!mayFail(error)) await park(tryOn(), claim.spool, error)
  }
}
