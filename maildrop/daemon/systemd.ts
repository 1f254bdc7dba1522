/**
 * Telling systemd how the daemon is (sd_notify): that it is ready, that it reads its configuration again, that it ends,
 * one line of status, and, where the unit has a WatchdogSec, that it still gets on.
 *
 * Node has no datagram sockets of the Unix kind, and packages that have are compiled at installation; so the messages are sent
 * by `systemd-notify`, which is where systemd is. They leave one after the other, only the end of the process waits for them, and
 * one that cannot be sent is logged once. Without NOTIFY_SOCKET nothing is done at all.
 */
import { execFile } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { messageOf } from '../errors.ts'
import type { Log } from './log.ts'

/** What is told of the daemon. */
export interface Supervised {
  /** A number that grows while the daemon gets on. */
  progress(): number
  /** One line for people. */
  status(): string
}

export interface Supervisor {
  /** The daemon delivers; from now on its progress and its status are told. */
  ready(daemon: Supervised): void
  /** It reads its configuration again; until the promise resolves, with either end. */
  reloading(until: Promise<unknown>): void
  /** It ends. @returns when systemd was told, or will not be */
  stopping(): Promise<void>
}

/** Milliseconds between two looks at the status, and that `systemd-notify` gets. */
const STATUS_INTERVAL = 10_000
const PATIENCE = 20_000

/** Milliseconds that the end of the process waits until systemd was told. */
const LAST_PATIENCE = 5000

/** @param env `NOTIFY_SOCKET`, and `WATCHDOG_USEC` with `WATCHDOG_PID` if it is for this process */
export function openSupervisor(log: Log, env: Readonly<Record<string, string | undefined>>): Supervisor {
  const { NOTIFY_SOCKET: socket } = env
  if (!socket) return { ready: () => undefined, reloading: () => undefined, stopping: () => Promise.resolve() }
  const watchdog = watchdogOf(env)
  let sending: Promise<void> = Promise.resolve()
  let queued = 0
  let complained = false
  let ending = false
  let timer: NodeJS.Timeout | undefined

  const tell = (...messages: string[]): void => {
    queued += 1
    sending = sending.then(async () => {
      const problem = await notify(messages, socket)
      if (problem !== undefined && !complained) log.line('notify-failed', { text: problem })
      complained = problem !== undefined
      queued -= 1
    })
  }

  const watch = (daemon: Supervised, shown: string): void => {
    let last = daemon.progress()
    let status = shown
    const look = (): void => {
      if (queued > 0) return
      const messages: string[] = []
      const progress = daemon.progress()
      if (watchdog !== undefined && progress !== last) messages.push('WATCHDOG=1')
      last = progress
      if (daemon.status() !== status) {
        status = daemon.status()
        messages.push(`STATUS=${status}`)
      }
      if (messages.length > 0) tell(...messages)
    }
    timer = setInterval(look, Math.min(STATUS_INTERVAL, watchdog ?? STATUS_INTERVAL))
    timer.unref()
  }

  return {
    ready(daemon) {
      const status = daemon.status()
      tell('READY=1', `STATUS=${status}`)
      watch(daemon, status)
    },
    reloading(until) {
      tell('RELOADING=1')
      const over = (): void => {
        if (!ending) tell('READY=1')
      }
      until.then(over, over)
    },
    stopping() {
      ending = true
      clearInterval(timer)
      tell('STOPPING=1', 'STATUS=finishing what has been begun')
      return Promise.race([sending, sleep(LAST_PATIENCE, undefined, { ref: false })])
    },
  }
}

/** Milliseconds between two signs of life, a third of what systemd waits; undefined if it waits for none of this process. */
function watchdogOf({ WATCHDOG_USEC: usec, WATCHDOG_PID: pid }: Readonly<Record<string, string | undefined>>) {
  if (!usec || !/^[1-9]\d*$/.test(usec) || (pid && pid !== String(process.pid))) return undefined
  return Number(usec) / 3000
}

/** @returns what went wrong */
function notify(messages: readonly string[], socket: string): Promise<string | undefined> {
  const env = { PATH: '/usr/bin:/bin:/usr/local/bin', NOTIFY_SOCKET: socket }
  return new Promise(resolve => {
    execFile('systemd-notify', [...messages], { env, timeout: PATIENCE }, error =>
      resolve(error === null ? undefined : `systemd-notify: ${messageOf(error)}`),
    )
  })
}
