/**
 * Other programs in a measurement: found, started, looked at while they run, and gone when the benchmark ends.
 */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Bench } from '../command.ts'

/** Where a program is, looked for where administrators' programs are too. */
export function findProgram(name: string): string | undefined {
  for (const directory of [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin']) {
    try {
      accessSync(join(directory, name), constants.X_OK)
      return join(directory, name)
    } catch {}
  }
  return undefined
}

export interface Running {
  readonly process: ChildProcess
  readonly pid: number
  /** What it has written to its standard error. */
  complaints(): string
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>
}

/** Starts a program, which is killed at the end at the latest. */
export function start(bench: Bench, program: string, args: readonly string[], options: SpawnOptions = {}): Running {
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], ...options })
  let complaints = ''
  child.stderr?.on('data', chunk => {
    complaints += chunk
  })
  const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(signal ?? code ?? -1))
  })
  ended.catch(() => undefined)
  const kill = () => child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')
  bench.atEnd(kill)
  return { process: child, pid: child.pid ?? -1, complaints: () => complaints, ended }
}

/** Runs a program to its end. @throws if it fails */
export async function finish(
  bench: Bench,
  program: string,
  args: readonly string[],
  options: SpawnOptions & { input?: Buffer } = {},
): Promise<void> {
  const { input, ...others } = options
  const running = start(bench, program, args, {
    ...others,
    ...(input && { stdio: ['pipe', 'ignore', 'pipe'] }),
  })
  running.process.stdin?.on('error', () => undefined).end(input)
  const code = await running.ended
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${running.complaints().trim()}`)
}

/** Waits until `check` is true, looking every `interval` milliseconds. @throws after two minutes without */
export async function until(what: string, check: () => boolean, interval = 5): Promise<void> {
  const deadline = performance.now() + 120_000
  while (!check()) {
    if (performance.now() > deadline) throw new Error(`waited two minutes in vain for ${what}`)
    await sleep(interval)
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}

/** Waits until a server answers at a port. */
export async function listening(port: number): Promise<void> {
  const answers = () =>
    new Promise<boolean>(resolve => {
      const socket = connect(port, '127.0.0.1')
      socket.once('connect', () => resolve(socket.destroy() !== undefined))
      socket.once('error', () => resolve(false))
    })
  for (let tries = 0; !(await answers()); tries++) {
    if (tries > 1000) throw new Error(`no server answers at port ${port}`)
    await sleep(10)
  }
}

/** Seconds of CPU time that a process has used, to a hundredth. */
export function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Most bytes of memory that a process has had resident. */
export function peakMemory(pid: number): number {
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}
