/**
 * A spool that is served: what belongs to it as long as some configuration serves it, and how it is looked after. What is wrong with it is
 * said once, and stops no other spool.
 */
import type { MaildropConfig } from '../config.ts'
import { openClaims } from '../spool/claim.ts'
import { openIntake } from './intake.ts'
import type { Log } from './log.ts'
import { openRecovery, type Recovery } from './recovery.ts'
import type { Source } from './supply.ts'
import { openTrouble } from './trouble.ts'

export interface Served extends Source {
  readonly spool: string
  readonly recovery: Recovery
}

/** Every so many turns it is seen whether other daemons have died. */
const RECOVERY = 4

/**
 * @param lease milliseconds without a sign of life after which another daemon's claims are taken back
 * @param config as it is now
 * @param onWork called when there may be something to send
 */
export function openServed(
  spool: string,
  log: Log,
  lease: number,
  config: () => MaildropConfig,
  onWork: () => void,
): Served {
  const claims = openClaims(spool, () => log.line('claims-lost', { spool }))
  return {
    spool,
    claims,
    recovery: openRecovery(spool, claims, log, lease, () => config().onUnknown === 'ask'),
    intake: openIntake(spool, log, onWork, () => config().shared),
    trouble: openTrouble(spool, log),
  }
}

export function closeServed({ intake, claims }: Served): void {
  intake.close()
  claims.close()
}

/** Shows other daemons that this one lives. */
export function beat({ claims, trouble }: Served): void {
  try {
    claims.heartbeat()
    trouble.end('heartbeat')
  } catch (error) {
    trouble.begin('heartbeat', error)
  }
}

/** One turn of looking after it. @param turn its number */
export async function lookAfter(served: Served, turn: number): Promise<void> {
  const { intake, trouble } = served
  try {
    await intake.tick()
    if (turn % RECOVERY === 0) await takeBack(served)
    trouble.end('care')
    if (intake.backlog === 0) trouble.end('delivery')
  } catch (error) {
    trouble.begin('care', error)
  }
}

/** Takes back what daemons that died had claimed. @throws {MaildropError} SPOOL_DENIED, SPOOL_FULL, SPOOL_FAILED */
export async function takeBack({ recovery, intake }: Served): Promise<void> {
  if ((await recovery.takeBack()) > 0) intake.scan()
}
