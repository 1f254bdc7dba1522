/** A server that takes a second for each message: what counts is that all connections are in use all the time. */
import type { Row } from '../report.ts'
import { drain } from './daemon.ts'
import { pool } from './peers.ts'
import { until } from './processes.ts'
import type { Setting } from './setting.ts'
import { startSink } from './sink.ts'

export async function slow(setting: Setting): Promise<Row[]> {
  const { port } = await startSink(setting, 1)
  const turns = setting.quick ? 2 : 6
  const rows: Row[] = []
  for (const connections of setting.connections) {
    const load = { count: connections * turns, size: 2000, connections, port }
    const ours = load.count / (await drain(setting, load)).seconds
    const pooled = load.count / (await pool(load)).seconds
    const last = connections === setting.connections.at(-1)
    rows.push({
      measure: `a server that takes 1 s, ${connections} connections`,
      unit: '/s',
      ours,
      peers: { 'nodemailer pool': pooled, ...(last && (await postfixRate(setting, load))) },
      target: { of: 'ours / connections', value: ours / connections, atLeast: 0.95 },
    })
  }
  return rows
}

async function postfixRate(
  { postfix }: Setting,
  { count, size, connections, port }: { count: number; size: number; connections: number; port: number },
): Promise<Record<string, number>> {
  if (postfix === undefined) return {}
  await postfix.relayTo(port, connections)
  await postfix.defer(count, size)
  const begun = performance.now()
  await postfix.flush()
  await until('the queue to become empty', postfix.isEmpty, 10)
  return { Postfix: (count * 1000) / (performance.now() - begun) }
}
