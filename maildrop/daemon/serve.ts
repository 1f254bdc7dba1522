/**
 * Runs the daemon in this process until a signal ends it.
 *
 * SIGTERM and SIGINT let it finish what it has begun; a second one ends it at once (what was in transfer is then taken back
 * by the next daemon). An error nobody foresaw is logged and ends the process, which loses nothing for the same reason.
 */
import type { MaildropConfig } from '../config.ts'
import { messageOf } from '../errors.ts'
import { startDaemon } from './daemon.ts'
import { openLog } from './log.ts'
import { releasePidFile } from './pid-file.ts'

/**
 * @param ready called when the daemon delivers
 * @returns when it has stopped
 * @throws {MaildropError} as startDaemon does
 */
export async function serve(config: MaildropConfig, ready: () => unknown): Promise<void> {
  process.umask(0o077)
  const log = openLog(config, config.debug ? line => process.stdout.write(line) : undefined)
  const signal = new Promise<void>(resolve => {
    let asked = false
    const ask = (): void => {
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    process.on('SIGTERM', ask)
    process.on('SIGINT', ask)
  })
  process.on('SIGHUP', () => undefined)
  const die = (error: unknown): void => {
    log.line('died', {
      pid: process.pid,
      text: error instanceof Error ? (error.stack ?? error.message) : messageOf(error),
    })
    process.stderr.write(`maildrop: ended by an error nobody foresaw: ${messageOf(error)}; see ${config.logFile}\n`)
    releasePidFile(config.pidFile)
    process.exit(1)
  }
  for (const text of config.warnings) log.line('warning', { text })
  const daemon = await startDaemon(config, log)
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  ready()
  await signal
  await daemon.stop()
}
