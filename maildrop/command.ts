/**
 * Running a command of the configuration: no shell, no terminal, a time limit, and a process group of its own, so that nothing
 * it has started outlives it. Its working directory is `/`, wherever the daemon was started, and its environment has no secret.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process'
import type { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { messageOf, systemCode } from './errors.ts'

/** An absolute path and arguments. */
export type Command = readonly [string, ...string[]]

export interface CommandResult {
  /** Undefined if it ended with 0; otherwise what a sentence that begins with its path goes on with. */
  readonly problem: string | undefined
  /** What it printed; empty without `maxOutput`. */
  readonly output: Buffer
  /** The end of what it printed on its standard error. */
  readonly complaint: string
}

export interface CommandOptions {
  /** What it gets on its standard input; it need not read it. */
  readonly input?: string
  /** Milliseconds that it may take. */
  readonly limit: number
  /** Bytes that it may print; without it, what it prints goes nowhere. */
  readonly maxOutput?: number
  /** Ends it before. */
  readonly signal?: AbortSignal
}

/** Milliseconds between asking a command to end and ending it, and for which a pipe is waited for that somebody else holds open. */
const GRACE = 2000
/** Characters of what it complained that are kept. */
const MAX_COMPLAINT = 500
/** What the environment of the daemon holds that is nobody else's business. */
const SECRETS = ['MAILDROP_PASSWORD', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']

/** Never throws. */
export async function runCommand(
  command: Command,
  { input = '', limit, maxOutput, signal }: CommandOptions,
): Promise<CommandResult> {
  const child = begin(command, maxOutput === undefined ? 'ignore' : 'pipe')
  if (typeof child === 'string') return { problem: `cannot be run: ${child}`, output: Buffer.alloc(0), complaint: '' }
  const pieces: Buffer[] = []
  let size = 0
  let complaint = ''
  let ended: string | undefined
  const timers: NodeJS.Timeout[] = []
  const kill = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name)
    } catch {
      // It has ended meanwhile.
    }
  }
  const end = (why: string): void => {
    if (ended !== undefined) return
    ended = why
    kill('SIGTERM')
    timers.push(setTimeout(() => kill('SIGKILL'), GRACE))
  }
  const stop = (): void => end('was ended, because the daemon stops')
  timers.push(setTimeout(() => end(`took more than ${limit / 1000} seconds`), limit))
  signal?.addEventListener('abort', stop)
  if (signal?.aborted) stop()

  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-MAX_COMPLAINT)
  })
  child.stdout?.on('data', (piece: Buffer) => {
    size += piece.length
    if (size <= (maxOutput ?? 0)) pieces.push(piece)
    else end(`printed more than ${maxOutput} bytes`)
  })
  child.stdin.on('error', () => undefined).end(input)

  const failure = await new Promise<string | undefined>(resolve => {
    child.once('error', error => resolve(`cannot be run: ${systemCode(error) ?? messageOf(error)}`))
    child.once('exit', (status, by) => {
      // What it has left running does not get its pipes.
      kill('SIGKILL')
      timers.push(setTimeout(() => destroy(child), GRACE))
      child.once('close', () => resolve(status === 0 ? undefined : `failed with ${by ?? `exit status ${status}`}`))
    })
  })
  for (const timer of timers) clearTimeout(timer)
  signal?.removeEventListener('abort', stop)
  destroy(child)
  return { problem: ended ?? failure, output: Buffer.concat(pieces), complaint: complaint.trim() }
}

type Child = ChildProcessByStdio<Writable, Readable | null, Readable>

/** @returns why there is none, also where the system has no process or no file left */
function begin([path, ...args]: Command, stdout: 'ignore' | 'pipe'): Child | string {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRETS.includes(name)))
  try {
    const child = spawn(path, args, { cwd: '/', env, detached: true, stdio: ['pipe', stdout, 'pipe'] }) as Child
    if (child.stdin !== undefined) return child
    // Without files for its pipes it has none, whatever their type says.
    const failed: EventEmitter = child
    failed.once('error', () => undefined)
    return 'the process has no file left to open'
  } catch (error) {
    return systemCode(error) ?? messageOf(error)
  }
}

function destroy({ stdin, stdout, stderr }: Child): void {
  for (const pipe of [stdin, stdout, stderr]) pipe?.destroy()
}
