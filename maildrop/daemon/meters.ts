/**
 * What is measured, in the form that Prometheus reads (https://prometheus.io/docs/instrumenting/exposition_formats/). Names and
 * labels are stable. No address and no text of a message is in it.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client'
import { type Census, census } from '../spool/census.ts'
import { MAIL_STATES } from '../spool/listing.ts'
import type { DaemonStatus } from './daemon.ts'
import type { DestinationStatus } from './destination.ts'
import type { LogFields } from './log.ts'
import { isVerdict, type LogEvent } from './log-events.ts'

/** What is asked when the numbers are. */
export interface Measured {
  readonly started: Date
  spools(): readonly string[]
  /** Undefined before it delivers. */
  status(): DaemonStatus | undefined
  /** Seconds for which nothing has moved although mail waits; 0 if all is well. */
  stalled(): number
}

export interface Meters {
  /** Takes notice of a line of the log. */
  saw(event: LogEvent, fields: LogFields): void
  text(): Promise<string>
  readonly contentType: string
}

/** Seconds. */
const DELAYS = [0.01, 0.05, 0.25, 1, 5, 30, 60, 300, 1800, 7200, 28_800, 86_400, 432_000]
const TRANSFERS = [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300]
/** Milliseconds for which the spool is not counted again, and how many times what counting took. */
const FRESH = 5000
const COSTS = 20

export function openMeters(measured: Measured): Meters {
  const registers = [new Registry()]
  const [registry] = registers as [Registry]
  const count = counting(measured)

  const recipients = new Counter({
    name: 'maildrop_recipients_total',
    help: 'Attempts at a recipient, by what they ended in.',
    labelNames: ['verdict'],
    registers,
  })
  const delay = new Histogram({
    name: 'maildrop_delay_seconds',
    help: 'Time from the arrival of a message in the spool until the server had taken it for a recipient.',
    buckets: DELAYS,
    registers,
  })
  const transfer = new Histogram({
    name: 'maildrop_transfer_seconds',
    help: 'Time from MAIL to the last reply.',
    buckets: TRANSFERS,
    registers,
  })
  const events = new Counter({
    name: 'maildrop_events_total',
    help: 'Lines of the log, by event.',
    labelNames: ['event'],
    registers,
  })
  const gauge = (name: string, help: string, value: () => number | Promise<number>): void => {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await value())
      },
    })
  }
  new Gauge({
    name: 'maildrop_queue_messages',
    help: 'Messages in the spool, by state.',
    labelNames: ['state'],
    registers,
    async collect() {
      const { counts } = await count()
      for (const state of MAIL_STATES) this.set({ state }, counts[state])
    },
  })
  gauge(
    'maildrop_oldest_message_seconds',
    'Age of the oldest message that is to be sent; 0 if there is none.',
    async () => {
      const { oldest } = await count()
      return oldest === undefined ? 0 : Math.max(0, Date.now() - oldest) / 1000
    },
  )
  new Gauge({
    name: 'maildrop_connections',
    help: 'Connections that are open, that transfer a message, and that may be open.',
    labelNames: ['state'],
    registers,
    collect() {
      for (const [state, value] of Object.entries(measured.status()?.connections ?? {})) this.set({ state }, value)
    },
  })
  const ofEachServer = (name: string, help: string, value: (destination: DestinationStatus) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['relay'],
      registers,
      collect() {
        this.reset()
        const status = measured.status()
        if (status === undefined) return
        for (const { relay, destination } of [status, ...status.relays]) this.set({ relay }, value(destination))
      },
    })
  }
  ofEachServer('maildrop_destination_up', '1 if the server can be used.', ({ state }) => (state === 'up' ? 1 : 0))
  ofEachServer(
    'maildrop_destination_down_seconds',
    'For how long the server has been unusable.',
    ({ seconds = 0 }) => seconds,
  )
  gauge('maildrop_due_messages', 'Messages that are due, as far as is known.', () => measured.status()?.backlog ?? 0)
  gauge(
    'maildrop_stalled_seconds',
    'For how long nothing has moved although mail waits; 0 if all is well.',
    measured.stalled,
  )
  gauge(
    'maildrop_start_time_seconds',
    'When the daemon started, in seconds since 1970.',
    () => measured.started.getTime() / 1000,
  )

  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    saw(event, fields) {
      events.inc({ event })
      if (!isVerdict(event)) return
      recipients.inc({ verdict: event })
      if (event === 'sent') delay.observe(Number(fields.delay ?? 0))
      if (fields.transfer !== undefined) transfer.observe(Number(fields.transfer))
    },
  }
}

/** Counts the spools, seldom enough to cost next to nothing: whoever asks in between gets the last answer. */
function counting({ spools }: Measured): () => Promise<Census> {
  let last: Promise<Census> | undefined
  let until = 0
  return () => {
    if (last === undefined || performance.now() >= until) {
      const start = performance.now()
      until = Number.POSITIVE_INFINITY
      last = census(spools()).finally(() => {
        const end = performance.now()
        until = end + Math.max(FRESH, COSTS * (end - start))
      })
    }
    return last
  }
}
