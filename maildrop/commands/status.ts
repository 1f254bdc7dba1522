/**
 * `maildropctl status`: whether the daemon runs, which paths it uses, and how much mail there is.
 */
import type { MaildropConfig } from '../config.ts'
import { readPidFile } from '../daemon/pid-file.ts'
import { countSpools } from '../spool/listing.ts'
import { say } from './output.ts'

const REMARKS = {
  none: '',
  running: '',
  stale: ' (its pid file is stale)',
  unverifiable: ' here; its pid file belongs to a process of another machine or container',
} as const

/** Prints the status; fails (exit code 1) if the daemon does not run. */
export async function status(config: MaildropConfig, options: { readonly json: boolean }): Promise<void> {
  const found = readPidFile(config.pidFile)
  const running = found.kind === 'running'
  const pid = running ? found.identity.pid : undefined
  const counts = countSpools(config.spools)
  const { file, spools, logFile, pidFile, smtp } = config
  if (options.json) {
    const server = { host: smtp.host, port: smtp.port, tls: smtp.tls, login: smtp.login?.user }
    say(
      JSON.stringify({ running, pid, messages: counts, config: file, spools, logFile, pidFile, server }, undefined, 2),
    )
  } else {
    say(running ? `running with pid ${pid}` : `not running${REMARKS[found.kind]}`)
    say(
      `  messages  ${Object.entries(counts)
        .map(([state, count]) => `${count} ${state}`)
        .join(', ')}`,
    )
    for (const spool of spools) say(`  spool     ${spool}`)
    say(`  log       ${logFile}`)
    say(`  pid file  ${pidFile}`)
    say(`  config    ${file}`)
    say(`  server    ${smtp.host}:${smtp.port}`)
  }
  if (!running) process.exitCode = 1
}
