/** Programs at a real terminal, which `script` (util-linux) provides. */
import { execFileSync, spawn } from 'node:child_process'
import type { Test } from 'tap'
import { waitFor } from './waiting.ts'

export interface Terminal {
  /** Presses keys. */
  type(keys: string): void
  /** Waits until what has appeared since the last call matches. @returns it, without what controls the terminal */
  shows(what: RegExp): Promise<string>
  readonly ended: Promise<number | null>
}

export function hasProgram(name: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** @param command for a shell */
export function terminal(
  t: Test,
  command: string,
  { cwd, env = {} }: { cwd: string; env?: Readonly<Record<string, string>> },
): Terminal {
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    cwd,
    env: { PATH: process.env.PATH, HOME: cwd, TERM: 'dumb', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let seen = ''
  child.stdin.on('error', () => undefined)
  child.stdout.on('data', chunk => {
    seen += chunk
  })
  const ended = new Promise<number | null>(resolve => child.on('close', resolve))
  t.teardown(async () => {
    child.kill('SIGKILL')
    await ended
  })
  return {
    ended,
    type: keys => void child.stdin.write(keys),
    async shows(what) {
      const text = () => seen.replace(/\u001b\[[\d;?]*[A-Za-z]|\r/g, '')
      await waitFor(`${what}`, () => what.test(text())).catch(cause => {
        throw new Error(`${(cause as Error).message}; there was ${JSON.stringify(text())}`, { cause })
      })
      const found = text()
      seen = ''
      return found
    },
  }
}
