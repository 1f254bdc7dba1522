/** Running the shipped programs as a user would: in a directory of one's own, with an environment of one's own. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { isAbsolute, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { waitFor } from './waiting.ts'

export const TOP = fileURLToPath(new URL('../..', import.meta.url))

export interface Outcome {
  /** The exit code; -1 if a signal ended it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A temporary directory that goes when the test ends. */
export async function directory(t: Test, prefix = 'home-'): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), prefix))
  t.teardown(() => removeDirectory(path))
  return path
}

/** Removes it also while a process that has been killed, or a shell's last command, still makes files there. */
export async function removeDirectory(path: string): Promise<void> {
  await waitFor(`an end of files in ${path}`, () =>
    rm(path, { recursive: true, force: true }).then(
      () => true,
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY') throw error
        return false
      },
    ),
  )
}

/** Runs a program to its end. @param name its path, absolute or relative to the project */
export function program(
  cwd: string,
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  input = '',
): Promise<Outcome> {
  return new Promise(resolve => {
    const path = isAbsolute(name) || !name.includes('/') ? name : join(TOP, name)
    const child = execFile(
      path,
      args,
      { cwd, env: { PATH: process.env.PATH, HOME: cwd, ...env }, maxBuffer: 64 << 20 },
      (error, stdout, stderr) =>
        resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr }),
    )
    child.stdin?.on('error', () => undefined).end(input)
  })
}
