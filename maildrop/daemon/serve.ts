/**
 * Runs the daemon in this process until a signal ends it.
 *
 *     SIGTERM, SIGINT   finish what has been begun, and end; a second one ends at once (what was in transfer is then taken
 *                       back by the next daemon)
 *     SIGHUP            read the configuration again, and go on with it if it is good
 *     SIGUSR1           make what is deferred due now
 *
 * The control socket does the same for `maildropctl`, with an answer. An error nobody foresaw is logged and ends the
 * process, which loses nothing for the same reason as a second signal.
 */
import { existsSync } from 'node:fs'
import type { MaildropConfig } from '../config.ts'
import { messageOf } from '../errors.ts'
import { unusableFiles } from '../smtp-config.ts'
import { type ControlHandler, controlPath, serveControl } from './control-socket.ts'
import { type Daemon, startDaemon, TIMING } from './daemon.ts'
import { silenceText } from './destination.ts'
import { type Log, observed, openLog } from './log.ts'
import { type Metrics, openMetrics } from './metrics.ts'
import { keepPidFile, releasePidFile } from './pid-file.ts'
import { openReloading } from './reloading.ts'
import { openStall, type Stall } from './stall.ts'
import { openSupervisor } from './systemd.ts'

/**
 * @param ready called when the daemon delivers
 * @param timing for tests
 * @returns when it has stopped
 * @throws {MaildropError} as startDaemon does
 */
export async function serve(config: MaildropConfig, ready: () => unknown, timing = TIMING): Promise<void> {
  process.umask(0o077)
  // a process that has run out of files could not load them later
  await Promise.all([import('../spool/state-shape.ts'), import('./control-shape.ts')])
  const started = new Date()
  const stall: Stall = openStall(() => log)
  const metrics: Metrics = openMetrics(
    {
      started,
      spools: () => current().spools,
      status: () => daemon?.status,
      stalled: () => stall.seconds,
    },
    () => log,
  )
  const log = observed(
    openLog(config, config.debug ? line => process.stdout.write(line) : undefined),
    (event, fields) => {
      stall.saw(event)
      metrics.saw(event, fields)
    },
  )
  let current = (): MaildropConfig => config
  let daemon: Daemon | undefined
  let reload: () => Promise<unknown> = async () => undefined
  const supervisor = openSupervisor(log, process.env)
  const flush = async (): Promise<{ messages: number }> => {
    const messages = (await daemon?.flush()) ?? 0
    log.line('flush', { pid: process.pid, messages })
    return { messages }
  }
  const signal = endingSignal()
  // What goes wrong is in the log.
  process.on('SIGHUP', () => void reload().catch(() => undefined))
  process.on('SIGUSR1', () => void flush().catch(error => log.line('trouble', { text: messageOf(error) })))
  const die = (error: unknown): void => {
    log.line('died', {
      pid: process.pid,
      text: error instanceof Error ? (error.stack ?? error.message) : messageOf(error),
    })
    process.stderr.write(`maildrop: ended by an error nobody foresaw: ${messageOf(error)}; see ${config.logFile}\n`)
    releasePidFile(current().pidFile)
    process.exit(1)
  }
  for (const text of [...config.warnings, ...unusableFiles(config.smtp)]) log.line('warning', { text })
  await metrics.prepare(config.metrics)
  daemon = await startDaemon(config, log, timing)
  await metrics.retarget(config.metrics)
  const running = daemon
  const reloading = openReloading(config, running, log)
  current = () => reloading.config
  reload = () => {
    const done = reloading.reload().then(async report => {
      await metrics.retarget(current().metrics)
      return report
    })
    supervisor.reloading(done)
    return done
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  const control = await openControl(
    () => current(),
    log,
    async command => {
      switch (command) {
        case 'status':
          return statusOf(started, current(), running, stall.seconds, [log.problem, metrics.problem])
        case 'reload':
          return await reload()
        case 'flush':
          return await flush()
        case 'drain':
          await running.drained()
          return running.status.destination
      }
    },
  )
  supervisor.ready({ progress: () => running.turns, status: () => describe(running.status) })
  const watching = setInterval(() => {
    control.look()
    const { backlog, rate } = running.status
    const { stallAlarm, waitInterval } = current()
    // What may not be sent yet does not stall.
    stall.look(rate?.wait ? 0 : backlog, Math.max(stallAlarm, 2 * waitInterval), () => knownReason(running.status))
  }, LOOK)
  ready()
  await signal
  clearInterval(watching)
  const told = supervisor.stopping()
  const stopped = running.stop()
  await control.close()
  await stopped
  await told
  await metrics.close()
}

/** Milliseconds between two looks whether mail moves. */
const LOOK = 1000

/** Why nothing moves: a server that cannot be used, one that owes something, a spool. */
function knownReason({ relay, destination, relays, troubles }: Daemon['status']): string | undefined {
  const all = [{ relay, destination }, ...relays]
  const down = all.find(({ destination: { state } }) => state !== 'up')
  if (down !== undefined) return down.destination.reason
  const silent = all.find(({ destination: { silence } }) => silence !== undefined)
  return silent === undefined ? troubles[0]?.text : `${silent.relay}: ${silenceText(silent.destination, 0)}`
}

/** What `maildropctl status` is told. */
export type ServeStatus = ReturnType<typeof statusOf>

function statusOf(
  started: Date,
  config: MaildropConfig,
  daemon: Daemon,
  stalled: number,
  problems: readonly (string | undefined)[],
) {
  const { file, spools, logFile } = config
  const uptime = Math.round((Date.now() - started.getTime()) / 1000)
  return {
    pid: process.pid,
    started: started.toISOString(),
    uptime,
    config: file,
    spools,
    logFile,
    stalled,
    problems: problems.filter(problem => problem !== undefined),
    ...daemon.status,
  }
}

/** One line for whoever looks at the service. */
function describe({ relay, destination, backlog, troubles: [trouble] }: Daemon['status']): string {
  if (trouble !== undefined) return `cannot use ${trouble.spool}`.replace(/\p{Cc}/gu, '?')
  const waiting = backlog === 0 ? 'nothing waits' : `${backlog} waiting`
  const reason = destination.reason?.replace(/\p{Cc}/gu, '?')
  if (destination.state !== 'up') return `cannot use ${relay}: ${reason}; ${waiting}`
  const silence = silenceText(destination)
  return `delivers to ${relay}${silence === undefined ? '' : `, which is silent (${silence})`}; ${waiting}`
}

function endingSignal(): Promise<void> {
  return new Promise(resolve => {
    let asked = false
    const ask = (): void => {
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    process.on('SIGTERM', ask)
    process.on('SIGINT', ask)
  })
}

interface Control {
  /** Sees to it that the daemon can be found and asked: a pid file or a socket that is elsewhere now, or was removed, is made (again). */
  look(): void
  close(): Promise<void>
}

async function openControl(config: () => MaildropConfig, log: Log, handle: ControlHandler): Promise<Control> {
  const closers: (() => Promise<void>)[] = []
  let served = ''
  let complaint = ''
  let opening: Promise<void> | undefined
  const open = async (): Promise<void> => {
    const { pidFile, file } = config()
    const path = controlPath(pidFile)
    try {
      if (keepPidFile(pidFile, file)) {
        if (path !== served) for (const close of closers.splice(0)) await close()
        closers.push(await serveControl(path, handle))
        served = path
      }
      complaint = ''
    } catch (error) {
      const text = messageOf(error)
      if (text !== complaint) log.line('control-failed', { text })
      complaint = text
    }
  }
  await open()
  return {
    look() {
      const { pidFile } = config()
      if (served === controlPath(pidFile) && existsSync(pidFile) && existsSync(served)) return
      opening ??= open().finally(() => {
        opening = undefined
      })
    },
    async close() {
      await opening
      for (const close of closers) await close()
    },
  }
}
