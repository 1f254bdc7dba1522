/**
 * How commands talk: results on standard output, one line per error on standard error, exit codes 0 (done), 1 (failed),
 * 2 (wrong usage). No stack trace ever reaches the user.
 */
import { messageOf } from '../errors.ts'

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** Says what should be looked at, without failing. */
export function warn(name: string, text: string): void {
  process.stderr.write(`${name}: warning: ${text}\n`)
}

/** Runs a command and sets the exit code. */
export async function run(name: string, command: () => Promise<void>): Promise<void> {
  process.stdout.on('error', () => undefined)
  try {
    await command()
  } catch (error) {
    process.stderr.write(`${name}: ${messageOf(error)}\n`)
    process.exitCode = 1
  }
}

/** Wrong usage: one line that says what, and where help is. */
export function usageError(name: string, problem: string): never {
  process.stderr.write(`${name}: ${problem.replace(/\s+/g, ' ')}; see ${name} --help\n`)
  process.exit(2)
}
