/**
 * `maildropctl status`: whether the daemon runs, which paths it uses, and how much mail there is.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { askDaemon, controlPath } from '../daemon/control-socket.ts'
import { readPidFile } from '../daemon/pid-file.ts'
import type { ServeStatus } from '../daemon/serve.ts'
import { formatDuration } from '../duration.ts'
import { messageOf } from '../errors.ts'
import { countSpools } from '../spool/listing.ts'
import { printable, say } from './output.ts'

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
  const { file, spools, logFile, pidFile, smtp, capture } = config
  const daemon = running ? await ask(config) : undefined
  if (options.json) {
    const server = { host: smtp.host, port: smtp.port, tls: smtp.tls, login: smtp.login?.user }
    say(
      JSON.stringify(
        { running, pid, messages: counts, config: file, spools, logFile, pidFile, server, capture, daemon },
        undefined,
        2,
      ),
    )
  } else {
    say(running ? `running with pid ${pid}` : `not running${REMARKS[found.kind]}`)
    say(
      `  messages  ${Object.entries(counts)
        .map(([state, count]) => `${count} ${state}`)
        .join(', ')}`,
    )
    if (daemon !== undefined) describe(daemon)
    for (const spool of spools) say(`  spool     ${spool}`)
    say(`  log       ${logFile}`)
    say(`  pid file  ${pidFile}`)
    say(`  config    ${file}`)
    if (capture === undefined) say(`  server    ${smtp.host}:${smtp.port}`)
    else say(`  capture   ${captureName(capture)}: nothing is sent`)
  }
  if (!running) process.exitCode = 1
}

/** What the daemon says of itself; what is wrong, if it does not answer. */
async function ask({ pidFile }: MaildropConfig): Promise<ServeStatus | { readonly problem: string }> {
  try {
    return (await askDaemon(controlPath(pidFile), 'status', PATIENCE)) as ServeStatus
  } catch (error) {
    return { problem: messageOf(error) }
  }
}

/** Milliseconds that a daemon gets to answer. */
const PATIENCE = 5000

function describe(daemon: ServeStatus | { readonly problem: string }): void {
  if ('problem' in daemon) {
    say(`  problem   ${printable(daemon.problem)}`)
    return
  }
  const { connections, uptime, stalled, backlog, rate, troubles } = daemon
  for (const { spool, text } of troubles) say(`  trouble   ${printable(`${spool}: ${text}`)}`)
  for (const { relay, destination } of [daemon, ...daemon.relays]) {
    const { state, seconds = 0, reason = '' } = destination
    const trouble = state === 'up' ? '' : ` for ${formatDuration(seconds)}: ${printable(reason)}`
    say(`  delivers  to ${relay}, which is ${state === 'up' ? 'up' : 'down'}${trouble}`)
  }
  if (rate !== undefined) {
    const wait = rate.wait > 0 ? `; the next one in ${formatDuration(rate.wait)}` : ''
    say(`  rate      ${rate.used} of ${rate.limit}${wait}`)
  }
  if (stalled > 0) say(`  stalled   nothing has moved for ${formatDuration(stalled)}; due: ${backlog}`)
  say(`  busy      ${connections.busy} of ${connections.open} open connections; running for ${formatDuration(uptime)}`)
}
