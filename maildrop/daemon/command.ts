/**
 * Running a command of the configuration: no shell, no terminal, a time limit, and a process group of its own, so that nothing
 * it has started outlives it.
 */
import { spawn } from 'node:child_process'
import { messageOf } from '../errors.ts'

/** Milliseconds between asking a command to end and ending it. */
const GRACE = 2000
/** Characters of what it complained that are kept. */
const MAX_TEXT = 500
/** What the environment of the daemon holds that is nobody else's business. */
const SECRETS = ['MAILDROP_PASSWORD', 'NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']

/**
 * @param command absolute path and arguments
 * @param input what it gets on its standard input; it need not read it
 * @param limit milliseconds
 * @param signal ends it before
 * @returns undefined if it ended with 0, or what went wrong
 */
export async function runCommand(
  [path, ...args]: readonly [string, ...string[]],
  input: string,
  limit: number,
  signal: AbortSignal,
): Promise<string | undefined> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !SECRETS.includes(name)))
  const child = spawn(path, args, { cwd: '/', env, detached: true, stdio: ['pipe', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = `${complaint}${text}`.slice(-MAX_TEXT)
  })
  child.stdin.on('error', () => undefined).end(input)

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
  const stop = (): void => end('ended, because the daemon stops')
  timers.push(setTimeout(() => end(`ended, because it took longer than ${limit / 1000} seconds`), limit))
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()

  const result = await new Promise<string | undefined>(resolve => {
    child.once('error', error => resolve(`cannot run ${path}: ${messageOf(error)}`))
    child.once('exit', (code, by) => resolve(code === 0 ? undefined : `${path} ended with ${by ?? code}`))
  })
  for (const timer of timers) clearTimeout(timer)
  signal.removeEventListener('abort', stop)
  // What it has left running does not get its pipe.
  child.stderr.destroy()
  kill('SIGKILL')
  if (result === undefined && ended === undefined) return undefined
  const said = complaint.trim().split('\n').at(-1)
  return [ended === undefined ? result : `${path}: ${ended}`, said].filter(Boolean).join(': ')
}
