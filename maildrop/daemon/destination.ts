/**
 * Whether the SMTP server can be used: a circuit breaker.
 *
 *     up ──(cannot be used)──▶ down ──(after a delay)──▶ probing ──(took a message)──▶ up
 *                                ▲                          │
 *                                └──────(still not)─────────┘
 *
 * While it is down nothing is sent and no message uses up an attempt. A probe is one connection, tried after 1, 2, 3 and then
 * every 5 seconds, so mail flows again within seconds of the server's return. What happens is logged once, not per probe.
 */
import { delayAfter, PROBE_DELAYS } from '../delivery/backoff.ts'
import { type Event, isAnswer, kindOf, verdictOf } from '../delivery/outcome.ts'
import { formatDuration } from '../duration.ts'
import type { Log } from './log.ts'

export interface Destination {
  /** How many connections may be open now. */
  readonly allowance: number
  /**
   * Takes notice of how a transaction ended. One message that makes the server hang up is that message's trouble, several in a row are
   * the server's.
   */
  heard(end: Event): void
  /** The server cannot be used at the moment. */
  failed(event: Event): void
  /** Tries now whether a server that is down is back. */
  probe(): void
  readonly status: DestinationStatus
  close(): void
}

export interface DestinationStatus {
  readonly state: 'up' | 'down' | 'probing'
  /** Seconds for which it could not be used, and why; only if it is not up. */
  readonly seconds?: number
  readonly reason?: string
  /** Only if it is up: what a connection is waiting for, and for how many seconds; of several the one that waits longest. */
  readonly silence?: { readonly text: string; readonly seconds: number }
}

/** Messages in a row without an answer after which the server counts as down. */
const MAX_DROPS = 3

/** `no greeting for 42s`; undefined if the server owes nothing, or not for so many seconds. */
export function silenceText({ silence }: DestinationStatus, least = SLOW): string | undefined {
  if (silence === undefined || silence.seconds < least) return undefined
  return `${silence.text} for ${formatDuration(silence.seconds)}`
}

/** Seconds for which a server may take its time without anybody being told. */
const SLOW = 3

/**
 * @param name `host:port`, for the log
 * @param connections the usual allowance
 * @param onProbe called when a probe is due, and when the server is back
 */
export function openDestination(name: string, connections: number, log: Log, onProbe: () => void): Destination {
  let state: DestinationStatus['state'] = 'up'
  let failures = 0
  let drops = 0
  let since = 0
  let reason = ''
  let kind = ''
  let timer: NodeJS.Timeout | undefined

  const probe = (): void => {
    if (state !== 'down') return
    clearTimeout(timer)
    state = 'probing'
    onProbe()
  }

  const worked = (): void => {
    if (state === 'up') return
    log.line('server-up', { relay: name, after: Math.round(performance.now() - since) / 1000 })
    state = 'up'
    failures = 0
    kind = ''
    clearTimeout(timer)
    onProbe()
  }

  const failed = (event: Event): void => {
    if (state === 'down') return
    if (state === 'up') since = performance.now()
    failures += 1
    reason = `${event.stage} ${event.code ?? ''} ${event.text}`
    if (kindOf(event) !== kind) {
      kind = kindOf(event)
      log.line('server-down', { relay: name, stage: event.stage, code: event.code, text: event.text })
    }
    state = 'down'
    timer = setTimeout(probe, delayAfter(PROBE_DELAYS, failures) * 1000)
  }

  return {
    get allowance() {
      return { up: connections, down: 0, probing: 1 }[state]
    },
    heard(end) {
      drops = end.code === undefined && end.stage !== 'local' ? drops + 1 : 0
      if (verdictOf(end) === 'defer-server' || drops >= MAX_DROPS) failed(end)
      else if (isAnswer(end)) worked()
    },
    failed,
    probe,
    get status() {
      if (state === 'up') return { state }
      return {
        state,
        seconds: Math.round((performance.now() - since) / 1000),
        reason: reason.replace(/ +/g, ' ').replace(/^(\w+) (?=\1 )/, ''),
      }
    },
    close: () => clearTimeout(timer),
  }
}
