/**
 * A small file system of a test's own (tmpfs), which can be filled up and made read-only. Only root can mount one; `diskProblem`
 * says why it is not possible.
 */
import { spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

export interface SmallDisk {
  /** Takes up all space that is left. */
  fill(): void
  /** Gives that space back. */
  free(): void
  readOnly(on: boolean): void
}

/** Why no file system can be mounted here, or undefined if one can. */
export function diskProblem(): string | undefined {
  if (process.getuid?.() !== 0) return 'only root can mount a file system'
  const { error } = spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'])
  return error?.message
}

/**
 * Mounts a file system at a directory, which is made; it goes when the test ends.
 * @param size in KiB
 */
export function mountSmallDisk(t: Test, directory: string, size = 1024): SmallDisk {
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  run('mount', '-t', 'tmpfs', '-o', `size=${size}k,mode=700`, 'tmpfs', directory)
  // Lazily, since a process of the test may still be about to end.
  t.teardown(() => run('umount', '-l', directory))
  const filler = join(directory, '.filler')
  return {
    fill() {
      const fd = openSync(filler, 'a')
      try {
        for (let bytes = 65_536; bytes > 0; bytes = Math.floor(bytes / 2)) {
          while (write(fd, bytes) === bytes);
        }
      } finally {
        closeSync(fd)
      }
    },
    free: () => rmSync(filler),
    readOnly: on => run('mount', '-o', `remount,${on ? 'ro' : 'rw'}`, directory),
  }
}

function write(fd: number, bytes: number): number {
  try {
    return writeSync(fd, Buffer.alloc(bytes, 'x'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') return 0
    throw error
  }
}

function run(...[program, ...args]: [string, ...string[]]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr}`)
}
