/**
 * Reading the configuration again: the same file, the same working directory, the environment as it was at the start.
 *
 * Everything can change but how it runs (DEBUG, SUPERVISED_DAEMON). With another pid file it is entered there first, so that commands,
 * which read the configuration too, find it at every moment, and it is refused if that is another daemon's. A configuration that cannot be used is refused as a whole, and the daemon goes on with the one it has.
 */
import { loadConfig, type MaildropConfig } from '../config.ts'
import { messageOf } from '../errors.ts'
import type { ConfigKeyName } from '../keys.ts'
import { unusableFiles } from '../smtp-config.ts'
import type { Daemon } from './daemon.ts'
import type { Log } from './log.ts'
import { claimPidFile, isOwnPidFile, releasePidFile } from './pid-file.ts'

export interface Reloading {
  /** The configuration in force. */
  readonly config: MaildropConfig
  /** @throws {MaildropError} what is wrong with the new configuration */
  reload(): Promise<ReloadReport>
}

export interface ReloadReport {
  /** The file that was read. */
  readonly config: string
  /** Keys that have changed and keep their old value until the daemon is started again. */
  readonly unchanged: readonly ConfigKeyName[]
}

export function openReloading(first: MaildropConfig, daemon: Daemon, log: Log): Reloading {
  let config = first
  return {
    get config() {
      return config
    },
    async reload() {
      try {
        const wanted = loadConfig({ file: config.file, cwd: config.cwd })
        const { pidFile, debug, supervised } = config
        const next = { ...wanted, debug, supervised }
        const isMoved = !isOwnPidFile(next.pidFile)
        if (isMoved) claimPidFile(next.pidFile, next.file)
        try {
          await daemon.reload(next)
        } catch (error) {
          if (isMoved) releasePidFile(next.pidFile)
          throw error
        }
        if (isMoved) releasePidFile(pidFile)
        const unchanged = FIXED.filter(([, field]) => wanted[field] !== config[field]).map(([key]) => key)
        config = next
        log.retarget(next)
        for (const text of [...next.warnings, ...unusableFiles(next.smtp)]) log.line('warning', { text })
        const text = unchanged.length === 0 ? undefined : `unchanged until a restart: ${unchanged.join(' ')}`
        log.line('reloaded', { pid: process.pid, config: next.file, relay: daemon.status.relay, text })
        return { config: next.file, unchanged }
      } catch (error) {
        log.line('reload-refused', { pid: process.pid, config: config.file, text: messageOf(error) })
        throw error
      }
    },
  }
}

const FIXED = [
  ['DEBUG', 'debug'],
  ['SUPERVISED_DAEMON', 'supervised'],
] as const
