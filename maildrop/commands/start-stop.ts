/**
 * What `start_maildrop`, `stop_maildrop` and the commands of the same names of `maildropctl` do.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { STOP_LIMIT, startDetached, stopDaemon } from '../daemon/control.ts'
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

export async function stop(config: Pick<MaildropConfig, 'pidFile'>): Promise<void> {
  const stopped = await stopDaemon(config)
  if (stopped === undefined) return say(`not running (${config.pidFile})`)
  const { pid, killed } = stopped
  say(killed ? `killed, pid was ${pid}: ${HUNG}` : `stopped, pid was ${pid}`)
}

const HUNG = `it had not ended ${STOP_LIMIT / 1000} seconds after SIGTERM. The next daemon takes back what it had begun; a message whose end was out may be sent again`

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
