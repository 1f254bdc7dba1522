/** What a running daemon says of itself, and of the servers that it cannot use. */
import type { MaildropConfig } from '../config.ts'
import { askDaemon, controlPath } from '../daemon/control-socket.ts'
import type { Daemon } from '../daemon/daemon.ts'
import { type DestinationStatus, silenceText } from '../daemon/destination.ts'
import { readPidFile } from '../daemon/pid-file.ts'
import type { ServeStatus } from '../daemon/serve.ts'
import { formatDuration } from '../duration.ts'
import { messageOf } from '../errors.ts'

type Place = Pick<MaildropConfig, 'pidFile'>

/** Milliseconds that a daemon gets to answer. */
const PATIENCE = 5000

/** The pid of the daemon of this configuration, if one runs. */
export function runningDaemon({ pidFile }: Place): number | undefined {
  const found = readPidFile(pidFile)
  return found.kind === 'running' ? found.identity.pid : undefined
}

/** What is wrong, if it does not answer. */
export async function askStatus({ pidFile }: Place): Promise<ServeStatus | { readonly problem: string }> {
  try {
    return (await askDaemon(controlPath(pidFile), 'status', PATIENCE)) as ServeStatus
  } catch (error) {
    return { problem: messageOf(error) }
  }
}

/** A sentence for each server that cannot be used, or does not answer: since when, and why. */
export function troublesOf(daemon: Pick<Daemon['status'], 'relay' | 'destination' | 'relays'>): string[] {
  return [daemon, ...daemon.relays].flatMap(({ relay, destination }) => {
    const trouble = troubleOf(destination)
    return trouble === undefined ? [] : [`${relay} is ${trouble}`]
  })
}

/** `down for 5m: connect ECONNREFUSED …`, `silent: no greeting for 42s`; undefined if the server can be used. */
export function troubleOf(destination: DestinationStatus): string | undefined {
  const { state, seconds = 0, reason = '' } = destination
  if (state !== 'up') return `down for ${formatDuration(seconds)}: ${reason}`
  const silence = silenceText(destination)
  return silence && `silent: ${silence}`
}
