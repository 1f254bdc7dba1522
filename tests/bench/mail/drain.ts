/** Delivering a full spool: how many messages a second, beside what others do with the same messages and the same server. */
import { median } from '../measure.ts'
import type { Row } from '../report.ts'
import { type Drained, drain as drainOurs } from './daemon.ts'
import { type Load, pool, source, submit } from './peers.ts'
import { until } from './processes.ts'
import type { Setting } from './setting.ts'

/** What the original and zope.sendmail do on one connection, without any fsync, on the machine where they were measured. */
const ORIGINAL = { maildrop: 2468, 'zope.sendmail': 1426 }

export async function drain(setting: Setting): Promise<Row[]> {
  const { sizes, connections, count } = setting
  const rows: Row[] = []
  for (const size of sizes) {
    const some = Math.max(1, Math.round(Math.min(count, 25_000_000 / (size * 1000))))
    for (const each of connections)
      rows.push(...(await sideBySide(setting, { count: some, size: size * 1000, connections: each })))
  }
  return [...rows, ...(await queues(setting))]
}

async function sideBySide(setting: Setting, { count, size, connections }: Omit<Load, 'port'>): Promise<Row[]> {
  const { rounds, sink } = setting
  const load = { count, size, connections, port: sink.port }
  const rates: Record<string, number[]> = { pool: [], source: [] }
  const all: Drained[] = []
  const poolCpu: number[] = []
  for (let round = 0; round < rounds; round++) {
    all.push(await drainOurs(setting, load))
    const pooled = await pool(load)
    rates.pool!.push(count / pooled.seconds)
    poolCpu.push(pooled.cpu)
    rates.source!.push(count / (await source(setting, load)))
  }
  const ours = median(all.map(({ seconds }) => count / seconds))
  const over = `${connections} ${connections === 1 ? 'connection' : 'connections'}`
  const what = `${count.toLocaleString('en')} of ${size / 1000} KB, ${over}`
  const pooled = median(rates.pool!)
  const isSmall = size <= 2000
  const rows: Row[] = [
    {
      measure: `drain ${what}`,
      unit: '/s',
      ours,
      peers: { 'nodemailer pool': pooled, 'smtp-source': median(rates.source!) },
      ...(isSmall && { target: { of: 'ours / pool', value: ours / pooled, atLeast: 0.8 } }),
    },
    {
      measure: `  CPU time of a message`,
      unit: 'µs',
      ours: median(all.map(({ cpu }) => cpu)),
      peers: { 'nodemailer pool': median(poolCpu) },
    },
    {
      measure: `  resident memory`,
      unit: 'MiB',
      ours: median(all.map(({ memory }) => memory)) / 2 ** 20,
      peers: {},
    },
  ]
  if (isSmall && connections === 1)
    rows.push({
      measure: `  beside the original's, elsewhere`,
      unit: '/s',
      ours,
      peers: ORIGINAL,
      target: { of: 'messages/s', value: ours, atLeast: ORIGINAL.maildrop },
    })
  return rows
}

/** Those that keep a queue on disk too, with the connections that suit them; a short queue, in which starting weighs, and long ones. */
async function queues(setting: Setting): Promise<Row[]> {
  const { quick, count } = setting
  const rows: Row[] = []
  for (const each of quick ? [200] : [count / 5, count, 2 * count])
    rows.push(await queue(setting, Math.round(each), each >= count))
  return rows
}

/** @param hasTarget whether the aim counts here */
async function queue(setting: Setting, count: number, hasTarget: boolean): Promise<Row> {
  const { postfix, nullmailer, sink, rounds } = setting
  const size = 2000
  const connections = 20
  const load = { count, size, connections, port: sink.port }
  const ours: number[] = []
  const peers: Record<string, number[]> = {}
  const add = (name: string, rate: number) => (peers[name] ??= []).push(rate)
  for (let round = 0; round < Math.min(rounds, 2); round++) {
    ours.push(count / (await drainOurs(setting, load)).seconds)
    if (postfix !== undefined) {
      await postfix.relayTo(sink.port, connections)
      await postfix.defer(count, size)
      add('Postfix', count / (await timed(() => postfix.flush(), postfix.isEmpty)))
      if (count <= setting.count)
        add(
          'Postfix, in and out',
          count / (await timed(() => submit(setting, { ...load, port: postfix.port }), postfix.isEmpty)),
        )
    }
    if (nullmailer !== undefined) {
      const some = Math.min(count, 300)
      add('nullmailer', some / (await nullmailer.drain({ count: some, size, port: sink.port })))
    }
  }
  const rate = median(ours)
  return {
    measure: `drain ${count.toLocaleString('en')} of 2 KB, ${connections} connections`,
    unit: '/s',
    ours: rate,
    peers: Object.fromEntries(Object.entries(peers).map(([name, rates]) => [name, median(rates)])),
    ...(postfix && hasTarget && { target: { of: 'ours / Postfix', value: rate / median(peers.Postfix!), atLeast: 2 } }),
  }
}

/** Seconds from the beginning of `begin` until `done`. */
async function timed(begin: () => Promise<unknown>, done: () => boolean): Promise<number> {
  const begun = performance.now()
  await begin()
  await until('the queue to become empty', done, 10)
  return (performance.now() - begun) / 1000
}
