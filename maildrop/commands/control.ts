/**
 * `maildropctl reload`, `flush` and `drain`: what is asked of a running daemon, or done without one.
 */
import type { MaildropConfig } from '../config.ts'
import { askDaemon, controlPath } from '../daemon/control-socket.ts'
import { startDaemon } from '../daemon/daemon.ts'
import { openLog } from '../daemon/log.ts'
import type { ReloadReport } from '../daemon/reloading.ts'
import { MaildropError } from '../errors.ts'
import { countSpools } from '../spool/listing.ts'
import { flushSpool } from '../spool/operations.ts'
import { askStatus, runningDaemon, troublesOf } from './daemon-status.ts'
import { messages, printable, say } from './output.ts'

/** @throws {MaildropError} NOT_RUNNING; RELOAD_REFUSED or what is wrong with the new configuration */
export async function reload(config: MaildropConfig): Promise<void> {
  const pid = runningDaemon(config)
  if (pid === undefined) throw new MaildropError('NOT_RUNNING', `not running (${config.pidFile}); start it`)
  const report = (await askDaemon(controlPath(config.pidFile), 'reload').catch(refused)) as ReloadReport
  say(`pid ${pid} goes on with ${report.config}`)
  if (report.unchanged.length > 0) say(`  unchanged until a restart: ${report.unchanged.join(', ')}`)
}

function refused(error: unknown): never {
  if (!(error instanceof MaildropError) || error.code === 'CONTROL_FAILED') throw error
  throw new MaildropError('RELOAD_REFUSED', `the daemon keeps its configuration: ${error.message}`, { cause: error })
}

/** Makes everything that is deferred due now; a running daemon tries its server at once. */
export async function flush(config: Pick<MaildropConfig, 'spools' | 'pidFile'>): Promise<void> {
  let count = 0
  for (const spool of config.spools) count += await flushSpool(spool)
  const isRunning = runningDaemon(config) !== undefined
  if (isRunning) await askDaemon(controlPath(config.pidFile), 'flush')
  say(`${messages(count)} made due${isRunning ? '' : '; no daemon is running'}`)
}

/** Delivers what can be delivered now, with the daemon or without; the exit code is 1 if anything is left to deliver. */
export async function drain(config: MaildropConfig): Promise<void> {
  const troubles = runningDaemon(config) === undefined ? await drainHere(config) : await drainThere(config)
  const { failed, held, ...rest } = countSpools(config.spools)
  const left = Object.values(rest).reduce((sum, count) => sum + count)
  const aside = [failed > 0 ? `${failed} failed` : '', held > 0 ? `${held} held` : ''].filter(Boolean)
  const remark = aside.length > 0 ? ` (besides ${aside.join(', ')})` : ''
  if (left === 0) return say(`nothing is left to deliver${remark}`)
  const states = Object.entries(rest).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []))
  const limit = config.rate === undefined ? '' : `, or MAILDROP_RATE is the reason: ${config.rate.text}`
  const why =
    troubles.length > 0
      ? `${printable(troubles.join('; '))}; maildropctl configtest says what to change`
      : `maildropctl queue tells why${limit}`
  say(`${messages(left)} left: ${states.join(', ')}${remark}; ${why}`)
  process.exitCode = 1
}

/** @returns the servers that cannot be used */
async function drainThere(config: MaildropConfig): Promise<string[]> {
  await askDaemon(controlPath(config.pidFile), 'drain', Number.POSITIVE_INFINITY)
  const said = await askStatus(config)
  return 'relay' in said ? troublesOf(said) : []
}

/** Is the daemon until everything is delivered, or a signal comes. @returns the servers that cannot be used */
async function drainHere(config: MaildropConfig): Promise<string[]> {
  process.umask(0o077)
  const daemon = await startDaemon(config, openLog(config, undefined))
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopped ??= daemon.stop()
    return stopped
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  await daemon.drained().finally(stop)
  return troublesOf(daemon.status)
}
