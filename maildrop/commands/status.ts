/**
 * `maildropctl status`: whether the daemon runs, which paths it uses, and how much mail there is.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { readPidFile } from '../daemon/pid-file.ts'
import type { ServeStatus } from '../daemon/serve.ts'
import { formatDuration } from '../duration.ts'
import { countSpools } from '../spool/listing.ts'
import { askStatus, troubleOf } from './daemon-status.ts'
import { type Facts, isBroken } from './facts.ts'
import { printable, say, sayJson } from './output.ts'

const REMARKS = {
  none: '',
  running: '',
  stale: ' (its pid file is stale)',
  unverifiable: ' here; its pid file belongs to a process of another machine or container',
} as const

/** Prints the status; fails (exit code 1) if the daemon does not run. */
export async function status(known: MaildropConfig | Facts, options: { readonly json: boolean }): Promise<void> {
  const found = readPidFile(known.pidFile)
  const running = found.kind === 'running'
  const pid = running ? found.identity.pid : undefined
  const counts = countSpools(known.spools)
  const { file, spools, logFile, pidFile } = known
  const daemon = running ? await askStatus(known) : undefined
  if (options.json) {
    const paths = { config: file, spools, logFile, pidFile }
    sayJson({ running, pid, messages: counts, ...paths, ...configured(known), daemon })
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
    if (!isBroken(known)) say(`  ${whereTo(known)}`)
  }
  if (!running) process.exitCode = 1
}

/** What the configuration says of where mail goes, or what is wrong with it. */
function configured(known: MaildropConfig | Facts) {
  if (isBroken(known)) return { problem: known.problem }
  const { host, port, tls, login } = known.smtp
  return { server: { host, port, tls, login: login?.user }, capture: known.capture }
}

function whereTo({ smtp, capture }: MaildropConfig): string {
  return capture === undefined
    ? `server    ${smtp.host}:${smtp.port}`
    : `capture   ${captureName(capture)}: nothing is sent`
}

function describe(daemon: ServeStatus | { readonly problem: string }): void {
  if ('problem' in daemon) {
    say(`  problem   ${printable(daemon.problem)}`)
    return
  }
  const { connections, uptime, stalled, backlog, rate, troubles, problems } = daemon
  for (const { spool, text } of troubles) say(`  trouble   ${printable(`${spool}: ${text}`)}`)
  // a daemon of before an upgrade says nothing of them
  for (const problem of problems ?? []) say(`  problem   ${printable(problem)}`)
  for (const { relay, destination } of [daemon, ...daemon.relays]) {
    say(`  delivers  to ${relay}, which is ${printable(troubleOf(destination) ?? 'up')}`)
  }
  if (rate !== undefined) {
    const wait = rate.wait > 0 ? `; the next one in ${formatDuration(rate.wait)}` : ''
    say(`  rate      ${rate.used} of ${rate.limit}${wait}`)
  }
  if (stalled > 0) say(`  stalled   nothing has moved for ${formatDuration(stalled)}; due: ${backlog}`)
  say(`  busy      ${connections.busy} of ${connections.open} open connections; running for ${formatDuration(uptime)}`)
}
