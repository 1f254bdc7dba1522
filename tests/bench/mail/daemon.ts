/**
 * The maildrop daemon in a measurement: the compiled one, as it is shipped, over a spool of its own, observed through its log.
 */
import { fstatSync, openSync, readSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Bench } from '../command.ts'
import { cpuSeconds, peakMemory, start, until } from './processes.ts'
import { fill, OTHER } from './sample.ts'

const START = fileURLToPath(new URL('../../../maildrop/bin/start_maildrop', import.meta.url))

export interface Home {
  readonly home: string
  readonly spool: string
}

export function newHome(bench: Bench): Home {
  const home = bench.newDirectory()
  return { home, spool: join(home, 'spool') }
}

export interface Daemon {
  readonly pid: number
  /** What it has logged. */
  readonly log: DaemonLog
  /** Ends it as an administrator would. */
  stop(): Promise<void>
}

/** @returns when it is ready to deliver */
export async function startDaemon(
  bench: Bench,
  { home }: Home,
  { port, connections }: { port: number; connections: number },
): Promise<Daemon> {
  const running = start(bench, process.execPath, [START], {
    cwd: home,
    env: {
      PATH: process.env.PATH,
      TZ: process.env.TZ,
      MAILDROP_HOME: home,
      SMTP_HOST: '127.0.0.1',
      SMTP_PORT: String(port),
      MAILDROP_CONNECTIONS: String(connections),
      MAILDROP_TLS: '0',
      MAILDROP_INTERVAL: '3600',
      SUPERVISED_DAEMON: '1',
    },
  })
  let code: number | NodeJS.Signals | undefined
  running.ended.then(end => {
    code = end
  })
  const log = followLog(join(home, 'var', 'maildrop.log'))
  await until('the daemon', () => {
    if (code !== undefined) throw new Error(`the daemon ended with ${code}: ${running.complaints()}`)
    return log.look().started !== undefined
  })
  return {
    pid: running.pid,
    log,
    async stop() {
      running.process.kill('SIGTERM')
      if ((await running.ended) !== 0) throw new Error(`the daemon ended with ${code}: ${running.complaints()}`)
    },
  }
}

/** What the log has told so far; times in milliseconds since 1970. */
interface Told {
  readonly started: number | undefined
  readonly firstSent: number | undefined
  /** Messages of OTHER. */
  readonly others: number
  /** The end of the last run. */
  readonly ended: number | undefined
  /** Messages sent in all runs that have ended. */
  readonly sent: number
}

interface DaemonLog {
  look(): Told
}

function followLog(file: string): DaemonLog {
  let fd: number | undefined
  let at = 0
  let rest = ''
  let told: Told = { started: undefined, firstSent: undefined, others: 0, ended: undefined, sent: 0 }
  const read = (line: string): void => {
    const [time, event] = line.split(' ', 2) as [string, string]
    if (event === 'sent' && line.includes(OTHER)) told = { ...told, others: told.others + 1 }
    if (event === 'sent' && told.firstSent !== undefined) return
    const now = Date.parse(time)
    if (event === 'start') told = { ...told, started: now }
    else if (event === 'sent') told = { ...told, firstSent: now }
    else if (event === 'run-end')
      told = { ...told, ended: now, sent: told.sent + Number(/ sent=(\d+)/.exec(line)?.[1] ?? 0) }
    else if (event === 'deferred' || event === 'failed' || event.startsWith('defer-')) throw new Error(line)
  }
  return {
    look() {
      try {
        fd ??= openSync(file, 'r')
      } catch {
        return told
      }
      const { size } = fstatSync(fd)
      if (size > at) {
        const bytes = Buffer.allocUnsafe(size - at)
        at += readSync(fd, bytes, 0, bytes.length, at)
        const lines = (rest + bytes.toString('latin1')).split('\n')
        rest = lines.pop()!
        for (const line of lines) read(line)
      }
      return told
    },
  }
}

export interface Drained {
  readonly seconds: number
  /** Microseconds of CPU time per message. */
  readonly cpu: number
  /** Most resident memory, bytes. */
  readonly memory: number
  /** Milliseconds from the start of the process to the first message delivered. */
  readonly toFirst: number
}

/** Fills a spool, starts a daemon on it, and measures from the moment when the daemon is ready to the one when all is delivered. */
export async function drain(
  bench: Bench,
  { count, size, connections, port }: { count: number; size: number; connections: number; port: number },
): Promise<Drained> {
  const home = newHome(bench)
  fill(home.spool, count, size)
  const launched = Date.now()
  const daemon = await startDaemon(bench, home, { port, connections })
  const before = cpuSeconds(daemon.pid)
  await until('the last message', () => daemon.log.look().sent >= count, 20)
  const { started, firstSent, ended } = daemon.log.look()
  const cpu = ((cpuSeconds(daemon.pid) - before) * 1e6) / count
  const memory = peakMemory(daemon.pid)
  await daemon.stop()
  rmSync(home.home, { recursive: true })
  return { seconds: (ended! - started!) / 1000, cpu, memory, toFirst: firstSent! - launched }
}
