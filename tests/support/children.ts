/**
 * Child processes of tests: started with the sources, watched, and gone when the test ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** What lets a Node process run the sources. */
export const LOADER = `--import=${new URL('typescript.mjs', import.meta.url)}`

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly end: number | NodeJS.Signals
  readonly stdout: string
  readonly stderr: string
}

export interface Child {
  readonly process: ChildProcess
  readonly pid: number
  /** What it has printed so far. */
  output(): string
  /** Resolves when it has ended and everything it printed has been read. */
  readonly ended: Promise<Ended>
}

export interface LaunchOptions {
  readonly cwd?: string
  /** Added to the test's own environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** Starts a TypeScript file of the project (a path relative to its root) as a process, and kills it when the test ends. */
export function launch(t: Test, file: string, args: readonly string[], options: LaunchOptions = {}): Child {
  return launchProgram(t, process.execPath, [LOADER, `${PROJECT}${file}`, ...args], options)
}

/** Starts any program, and kills it when the test ends. */
export function launchProgram(t: Test, program: string, args: readonly string[], options: LaunchOptions = {}): Child {
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ end: signal ?? code ?? -1, stdout, stderr }))
  })
  ended.catch(() => undefined)
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended.catch(() => undefined)
  })
  return { process: child, pid: child.pid ?? -1, output: () => stdout + stderr, ended }
}
