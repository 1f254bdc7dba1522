/** What grows with the number of messages that wait, and what should not. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatMailFile, newMailId } from 'maildrophost/maildrop'
import { median } from '../measure.ts'
import type { Row } from '../report.ts'
import { type Drained, drain, newHome, startDaemon } from './daemon.ts'
import { until } from './processes.ts'
import { FROM, fill, message, OTHER, TO } from './sample.ts'
import type { Setting } from './setting.ts'

const CONNECTIONS = 5

export async function backlog(setting: Setting): Promise<Row[]> {
  const { quick, sink } = setting
  const sizes = quick ? [200, 1000] : [2000, 20_000, 100_000]
  const all: Drained[] = []
  for (const count of sizes)
    all.push(await drain(setting, { count, size: 2000, connections: CONNECTIONS, port: sink.port }))
  const perMessage = all.map(({ seconds }, i) => (seconds * 1e6) / sizes[i]!)
  const rows = all.flatMap(({ toFirst, memory }, i): Row[] => [
    {
      measure: `${sizes[i]!.toLocaleString('en')} waiting: time of a message`,
      unit: 'µs',
      ours: perMessage[i]!,
      peers: {},
      ...(i === sizes.length - 1 && {
        target: { of: 'most / fewest', value: perMessage[i]! / perMessage[0]!, atMost: 1.2 },
      }),
    },
    {
      measure: '  from start to first delivery',
      unit: 'ms',
      ours: toFirst,
      peers: {},
      ...(i === sizes.length - 1 && { target: { of: 'ms', value: toFirst, atMost: 2000 } }),
    },
    { measure: '  resident memory', unit: 'MiB', ours: memory / 2 ** 20, peers: {} },
  ])
  return [...rows, await besideBacklog(setting, sizes.at(-1)!), await amongDeferred(setting, sizes.at(-1)!)]
}

/** A message of one sender while many of another one are sent. */
async function besideBacklog(setting: Setting, count: number): Promise<Row> {
  const home = newHome(setting)
  fill(home.spool, count, 2000)
  const daemon = await startDaemon(setting, home, { port: setting.sink.port, connections: CONNECTIONS })
  await until('the first message', () => daemon.log.look().firstSent !== undefined, 1)
  const draft = join(home.home, 'drafts')
  mkdirSync(draft)
  const times: number[] = []
  for (let round = 1; round <= 3; round++) {
    const id = newMailId()
    writeFileSync(join(draft, id), formatMailFile({ id, from: OTHER, to: [TO] }, message(2000)))
    const begun = performance.now()
    renameSync(join(draft, id), join(home.spool, id))
    await until('the message of another sender', () => daemon.log.look().others >= round, 1)
    times.push(performance.now() - begun)
  }
  await daemon.stop()
  const time = median(times)
  return {
    measure: `another sender's message, ${count.toLocaleString('en')} waiting`,
    unit: 'ms',
    ours: time,
    peers: {},
    target: { of: 'ms', value: time, atMost: 200 },
  }
}

/** A new message where many others wait for a later time. */
async function amongDeferred(setting: Setting, count: number): Promise<Row> {
  const home = newHome(setting)
  fill(join(home.spool, '.deferred'), count, 2000, id => `${Math.round(Date.now() / 1000) + 7200}.${id}`)
  const daemon = await startDaemon(setting, home, { port: setting.sink.port, connections: CONNECTIONS })
  const draft = join(home.home, 'drafts')
  mkdirSync(draft)
  const times: number[] = []
  for (let round = 1; round <= 5; round++) {
    const id = newMailId()
    writeFileSync(join(draft, id), formatMailFile({ id, from: FROM, to: [TO] }, message(2000)))
    const begun = performance.now()
    renameSync(join(draft, id), join(home.spool, id))
    await until('the new message', () => daemon.log.look().sent >= round, 1)
    times.push(performance.now() - begun)
  }
  await daemon.stop()
  const time = median(times)
  return {
    measure: `a new message, ${count.toLocaleString('en')} deferred`,
    unit: 'ms',
    ours: time,
    peers: {},
    target: { of: 'ms', value: time, atMost: 200 },
  }
}
