/**
 * MAILDROP_METRICS: the numbers for Prometheus, on a port of the loopback interface (`http://127.0.0.1:PORT/metrics`), or in a
 * file that is replaced every few seconds, for node_exporter's textfile collector.
 *
 * A port that is taken or a file that cannot be written is logged once, tried again, and stops nothing.
 */
import { closeSync, constants, lstatSync, openSync, readSync } from 'node:fs'
import { chmod, rename, unlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { MetricsTarget } from '../config.ts'
import { messageOf } from '../errors.ts'
import type { Log, LogFields } from './log.ts'
import type { LogEvent } from './log-events.ts'
import type { Measured, Meters } from './meters.ts'

export interface Metrics {
  saw(event: LogEvent, fields: LogFields): void
  /** Counts from now on, if there is a target. */
  prepare(target: MetricsTarget | undefined): Promise<void>
  /** Goes on elsewhere, or not at all. */
  retarget(target: MetricsTarget | undefined): Promise<void>
  close(): Promise<void>
  /** Why the numbers cannot be told. */
  readonly problem: string | undefined
}

/** Milliseconds between two files, and until a port that was taken is tried again. */
const INTERVAL = 10_000

interface Outlet {
  close(): Promise<unknown>
}

export function openMetrics(measured: Measured, log: () => Log): Metrics {
  let meters: Meters | undefined
  let outlet: Outlet | undefined
  let current: MetricsTarget | undefined
  let complaint = ''

  const complain = (error: unknown): void => {
    const text = messageOf(error)
    if (text !== complaint) log().line('metrics-failed', { text })
    complaint = text
  }
  const worked = (): void => {
    complaint = ''
  }

  /** Who does not ask for numbers does not load what makes them. */
  const load = async (): Promise<Meters> => {
    meters ??= (await import('./meters.ts')).openMeters(measured)
    return meters
  }

  return {
    saw: (event, fields) => meters?.saw(event, fields),
    async prepare(target) {
      if (target !== undefined) await load()
    },
    async retarget(target) {
      if (JSON.stringify(target) === JSON.stringify(current)) return
      current = target
      await outlet?.close()
      outlet = undefined
      complaint = ''
      if (target === undefined) return
      const loaded = await load()
      outlet =
        'port' in target
          ? await onPort(target.port, loaded, complain, worked)
          : inFile(target.file, loaded, complain, worked)
    },
    async close() {
      await outlet?.close()
    },
    get problem() {
      return complaint === '' ? undefined : `the numbers for MAILDROP_METRICS cannot be told: ${complaint}`
    },
  }
}

type Complain = (error: unknown) => void

/** @returns when it listens, or has found that it cannot yet */
async function onPort(port: number, meters: Meters, complain: Complain, worked: () => void): Promise<Outlet> {
  let timer: NodeJS.Timeout | undefined
  const server = createServer(async (request, response) => {
    request.resume()
    if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics\n')
      return
    }
    try {
      const text = await meters.text()
      response.writeHead(200, { 'content-type': meters.contentType }).end(text)
    } catch (error) {
      complain(error)
      response.writeHead(500, { 'content-type': 'text/plain' }).end(`${messageOf(error)}\n`)
    }
  })
  const listen = (): Server => server.listen(port, '127.0.0.1')
  server.on('listening', worked)
  server.on('error', error => {
    complain(error)
    timer = setTimeout(listen, INTERVAL)
    timer.unref()
  })
  const first = new Promise(resolve => server.once('listening', resolve).once('error', resolve))
  listen()
  await first
  return {
    close() {
      clearTimeout(timer)
      server.closeAllConnections()
      return new Promise(resolve => server.close(resolve))
    },
  }
}

function inFile(file: string, meters: Meters, complain: Complain, worked: () => void): Outlet {
  const draft = `${file}.${process.pid}`
  let writing: Promise<void> = Promise.resolve()
  const write = (): void => {
    writing = writing.then(async () => {
      try {
        if (!isOurs(file))
          throw new Error(
            `${file} is something else than numbers of metrics, and is not replaced; set MAILDROP_METRICS to another path`,
          )
        // Whoever collects is another user.
        await writeFile(draft, await meters.text())
        await chmod(draft, 0o644)
        await rename(draft, file)
        worked()
      } catch (error) {
        complain(error)
        await unlink(draft).catch(() => undefined)
      }
    })
  }
  write()
  const timer = setInterval(write, INTERVAL)
  timer.unref()
  return {
    async close() {
      clearInterval(timer)
      await writing
      // Numbers of a daemon that has ended are no numbers.
      if (isOurs(file)) await unlink(file).catch(() => undefined)
    },
  }
}

/** Whether it may be replaced and removed: it is not there, or has numbers of metrics in it. What somebody has written otherwise is kept. */
function isOurs(file: string): boolean {
  const there = lstatSync(file, { throwIfNoEntry: false })
  if (there === undefined) return true
  if (!there.isFile()) return false
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const begin = Buffer.alloc(BEGIN.length)
    const count = readSync(fd, begin)
    return count === 0 || begin.toString('latin1', 0, count) === BEGIN
  } finally {
    closeSync(fd)
  }
}

/** The beginning of the text format of Prometheus, as it is written here. */
const BEGIN = '# HELP '
