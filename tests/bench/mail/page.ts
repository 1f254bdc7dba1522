/**
 * A page that stores one object and sends one mail: the time from `transact` to its return, beside what the same mail costs a page that hands it
 * to a server or to Postfix itself, and beside one synced put of LevelDB. Mail is published in the background meanwhile.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type Application,
  type Database,
  Folder,
  MaildropHost,
  openDatabase,
  Persistent,
  registerClass,
  type SendOptions,
} from 'maildrophost'
import { createTransport } from 'nodemailer'
import { openLevel } from '../db/peers.ts'
import { latencies, median, quantile } from '../measure.ts'
import type { Row } from '../report.ts'
import { findProgram, finish, until } from './processes.ts'
import { body, FROM, message, TO } from './sample.ts'
import type { Setting } from './setting.ts'
import { startDistance } from './sink.ts'

const CONCURRENT = 64
/** So many that a page which takes long still does not meet one that changes the same order. */
const ORDERS = 16 * CONCURRENT
const SIZE = 2000

class Order extends Persistent {
  number = 0
  text = 'what was ordered, '.repeat(12)
}
registerClass('BenchOrder', Order)

export async function page(setting: Setting): Promise<Row[]> {
  const { quick, rounds } = setting
  const [calls, commands] = quick ? [50, 3] : [300, 30]
  const tree = await openTree(setting)
  const level = await openLevel(setting.newDirectory())
  const record = Buffer.alloc(300, 'record ')
  const peers = await senders(setting)
  let number = 0
  const one = () => tree.page(number++)
  const contenders: { name: string; calls: number; call: (number: number) => unknown }[] = [
    { name: 'ours', calls, call: one },
    { name: 'synced put', calls, call: number => level.put(number, record) },
    { name: 'without mail', calls, call: tree.pageWithoutMail },
    { name: 'with a new object', calls, call: () => tree.newOrder(number++) },
    ...Object.entries(peers).map(([name, call]) => ({
      name,
      calls: name.endsWith('command') ? commands : name.includes('20 ms') ? Math.min(calls, 50) : calls,
      call,
    })),
  ]
  const times = new Map<string, number[]>(contenders.map(({ name }) => [name, []]))
  const serial: number[] = []
  const together: number[] = []
  for (let round = 0; round <= rounds; round++) {
    for (const { name, calls, call } of contenders) {
      const took = await latencies(calls, call)
      if (round > 0) times.get(name)!.push(...took)
      await tree.published()
    }
    const alone = await perSecond(calls, 1, one)
    await tree.published()
    const beside = await perSecond(calls * 4, CONCURRENT, one)
    await tree.published()
    if (round > 0) {
      serial.push(alone)
      together.push(beside)
    }
  }
  await tree.close()
  await level.close()
  const middle = (name: string) => median(times.get(name)!)
  const {
    ours: _,
    'synced put': put,
    ...others
  } = Object.fromEntries([...times.keys()].map(name => [name, middle(name)]))
  return [
    {
      measure: 'a page with one mail',
      unit: 'µs',
      ours: middle('ours'),
      peers: { 'synced put': put!, ...others },
      target: { of: 'ours / put', value: middle('ours') / put!, atMost: 1.5 },
    },
    {
      measure: '  99th of 100',
      unit: 'µs',
      ours: quantile(times.get('ours')!, 0.99),
      peers: { 'synced put': quantile(times.get('synced put')!, 0.99) },
    },
    {
      measure: `pages with one mail, ${CONCURRENT} at a time`,
      unit: '/s',
      ours: median(together),
      peers: { 'one by one': median(serial) },
      target: { of: 'ours / one by one', value: median(together) / median(serial), atLeast: 5 },
    },
  ]
}

/** Mail on its way from many pages to the spool, and what it costs; the spool is not served. */
export async function publish(setting: Setting): Promise<Row[]> {
  const count = setting.quick ? 200 : 5000
  const rates: number[] = []
  const cpu: number[] = []
  for (let round = 0; round <= Math.min(setting.rounds, 3); round++) {
    const tree = await openTree(setting)
    let number = 0
    const before = process.cpuUsage()
    const begun = performance.now()
    await perSecond(count, CONCURRENT, () => tree.page(number++))
    await tree.published()
    const seconds = (performance.now() - begun) / 1000
    const { user, system } = process.cpuUsage(before)
    const published = readdirSync(tree.spool).filter(name => !name.startsWith('.') && name !== 'failed').length
    if (published !== count) throw new Error(`${published} of ${count} mails were published`)
    await tree.close()
    if (round === 0) continue
    rates.push(count / seconds)
    cpu.push((user + system) / count)
  }
  return [
    {
      measure: `${CONCURRENT} pages at a time, until all mail is published`,
      unit: '/s',
      ours: median(rates),
      peers: {},
    },
    { measure: '  CPU time of a page and its mail', unit: 'µs', ours: median(cpu), peers: {} },
  ]
}

export async function openTree(setting: Setting) {
  const home = setting.newDirectory()
  const config = join(home, 'config')
  writeFileSync(config, `MAILDROP_HOME="${home}"\n`)
  const db: Database<Application> = await openDatabase(join(home, 'objects'), { maildropConfig: config })
  const text = body(SIZE)
  await db.transact(app => {
    app.create('/mail/XYZ', new MaildropHost(), { parents: true })
    const orders = app.create('/orders', new Folder())
    for (let i = 0; i < ORDERS; i++) orders.add(`order-${i}`, new Order())
  })
  const way = { committed: 0, done: 0 }
  const watch = (message: unknown): void => {
    const { step, ids } = message as { step: string; ids: string[] }
    if (step === 'committed' || step === 'done') way[step] += ids.length
  }
  subscribe('maildrophost:publish', watch)
  const mail = (app: Application, options: SendOptions = {}) =>
    app.traverse('/mail/XYZ', MaildropHost).send({ text }, { to: TO, from: FROM, subject: 'a benchmark', ...options })
  const change = (app: Application, number: number): void => {
    app.traverse(`/orders/order-${number % ORDERS}`, Order).number += 1
  }
  return {
    spool: join(home, 'spool'),
    /** Changes an order and sends a mail. */
    page: (number: number) =>
      db.transact(async app => {
        change(app, number)
        await mail(app)
      }),
    /** The same, with so many mails in one transaction, each with these options. */
    pageOf: (number: number, mails: number, options: SendOptions) =>
      db.transact(async app => {
        change(app, number)
        for (let i = 0; i < mails; i++) await mail(app, options)
      }),
    pageWithoutMail: (number: number) => db.transact(app => change(app, number)),
    /** Adds an order and sends a mail. */
    newOrder: (number: number) =>
      db.transact(async app => {
        app.traverse('/orders', Folder).add(`new-${number}`, new Order())
        await mail(app)
      }),
    /** Resolves when all mail has been published. */
    published: () => until('the mail to be published', () => way.done === way.committed, 1),
    async close() {
      await db.close()
      unsubscribe('maildrophost:publish', watch)
    },
  }
}

/** The ways to hand a mail over directly. */
async function senders(setting: Setting): Promise<Record<string, () => Promise<unknown>>> {
  const { sink, postfix } = setting
  const far = await startDistance(setting, sink.port, 20)
  const content = message(SIZE)
  const mail = { from: FROM, to: TO, subject: 'a benchmark', text: body(SIZE) }
  const by = (port: number, pool: boolean) => {
    const options = { host: '127.0.0.1', port, ignoreTLS: true }
    const transport = pool
      ? createTransport({ ...options, pool, maxMessages: Number.POSITIVE_INFINITY })
      : createTransport(options)
    setting.atEnd(() => transport.close())
    return () => transport.sendMail(mail)
  }
  const msmtp = findProgram('msmtp')
  return {
    'nodemailer pool, 0 ms': by(sink.port, true),
    'nodemailer pool, 20 ms': by(far.port, true),
    'nodemailer, 20 ms': by(far.port, false),
    ...(msmtp !== undefined && {
      'msmtp command': () =>
        finish(setting, msmtp, ['--host=127.0.0.1', `--port=${sink.port}`, `--from=${FROM}`, TO], { input: content }),
    }),
    ...(postfix !== undefined && {
      'Postfix, SMTP pool': by(postfix.port, true),
      'Postfix, sendmail command': () => postfix.sendmail(content),
    }),
  }
}

/** Calls so many times, some at a time. @returns calls per second */
async function perSecond(calls: number, atATime: number, call: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  let left = calls
  const work = async () => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: atATime }, work))
  return (calls * 1000) / (performance.now() - begun)
}
