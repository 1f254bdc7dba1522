/**
 * What one configuration has begun: for each server a destination and its workers. A reload starts the next one at once, and lets the messages
 * in transfer of the one before finish as they were begun.
 */
import { destinationsOf, type MaildropConfig } from '../config.ts'
import { relayName } from '../delivery/relay.ts'
import { type Destination, openDestination } from './destination.ts'
import type { Log } from './log.ts'
import type { Served } from './served.ts'
import type { Throttle } from './throttle.ts'
import { startWorkers, type Workers } from './workers.ts'

export interface Generation {
  readonly config: MaildropConfig
  readonly sources: readonly Served[]
  readonly throttle: Throttle
  /** The usual server's first, then those of the relays. */
  readonly lanes: readonly [Lane, ...Lane[]]
}

/** What goes to one server. */
export interface Lane {
  readonly relay: string
  readonly sources: readonly Served[]
  readonly destination: Destination
  readonly workers: Workers
}

/** @param stopping true once the daemon is ending */
export function beginGeneration(
  config: MaildropConfig,
  sources: readonly Served[],
  throttle: Throttle,
  log: Log,
  stopping: () => boolean,
): Generation {
  const begin = (config: MaildropConfig): Lane => {
    const relay = relayName(config)
    const own = config.spools.map(spool => sources.find(source => source.spool === spool)!)
    const destination = openDestination(relay, config.connections, log, () => lane.workers.wake())
    const workers = startWorkers(own, { config, log, destination, throttle, stopping })
    const lane = { relay, sources: own, destination, workers }
    return lane
  }
  const [usual, ...relays] = destinationsOf(config)
  return { config, sources, throttle, lanes: [begin(usual), ...relays.map(begin)] }
}

/** @param grace milliseconds that messages in transfer get; without it all that they take */
export async function endGeneration({ lanes }: Generation, grace?: number): Promise<void> {
  for (const { destination } of lanes) destination.close()
  await Promise.all(lanes.map(({ workers }) => workers.stop(grace)))
}
