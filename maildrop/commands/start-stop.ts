/**
 * What `start_maildrop`, `stop_maildrop` and the commands of the same names of `maildropctl` do.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { startDetached, stopDaemon } from '../daemon/control.ts'
import { say } from './output.ts'

/** Starts the daemon: detached, or in the foreground until it is stopped if the configuration says so. */
export async function start(config: MaildropConfig): Promise<void> {
  if (config.debug || config.supervised) {
    const { serve } = await import('../daemon/serve.ts')
    await serve(config, () => config.debug && describe(config, process.pid))
    process.exit(0)
  }
  describe(config, await startDetached(config))
}

export async function stop(config: Pick<MaildropConfig, 'pidFile' | 'logFile'>): Promise<void> {
  const pid = await stopDaemon(config)
  say(pid === undefined ? `not running (${config.pidFile})` : `stopped, pid was ${pid}`)
}

export async function restart(config: MaildropConfig): Promise<void> {
  await stop(config)
  await start(config)
}

/** The paths are absolute, so that a daemon and an application that mean different ones are found out at once. */
function describe(config: MaildropConfig, pid: number): void {
  say(`maildrop started with pid ${pid}`)
  for (const spool of config.spools) say(`  spool   ${spool}`)
  say(`  log     ${config.logFile}`)
  say(`  pid     ${config.pidFile}`)
  say(`  config  ${config.file}`)
  say(
    config.capture === undefined
      ? `  server  ${config.smtp.host}:${config.smtp.port}`
      : `  capture ${captureName(config.capture)}: nothing is sent`,
  )
}
