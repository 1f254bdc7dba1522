/**
 * How commands talk: results on standard output, one line per error on standard error, exit codes 0 (done), 1 (failed),
 * 2 (wrong usage). No stack trace ever reaches the user.
 */
import { explained, MaildropError } from '../errors.ts'

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

/** The one object that a command prints with --json. */
export function sayJson(value: object): void {
  say(JSON.stringify(value, undefined, 2))
}

/**
 * Writes a part of what may be much, no faster than it is read.
 * @returns false once nobody reads any more
 */
export async function pour(text: string | Uint8Array): Promise<boolean> {
  const { stdout } = process
  if (isClosed()) return false
  if (!stdout.write(text)) await movement(stdout)
  return !isClosed()
}

/** Resolves when more can be written, or nothing any more. */
function movement(stream: NodeJS.WriteStream): Promise<void> {
  const events = ['drain', 'close', 'error']
  return new Promise(resolve => {
    const moved = () => {
      for (const event of events) stream.removeListener(event, moved)
      resolve()
    }
    for (const event of events) stream.on(event, moved)
  })
}

function isClosed(): boolean {
  return process.stdout.destroyed || process.stdout.errored !== null
}

/** Says what should be looked at, without failing. */
export function warn(name: string, text: string): void {
  process.stderr.write(`${name}: warning: ${oneLine(text)}\n`)
}

/** Says what failed, where other things are done nevertheless; the exit code will be 1. */
export function fail(name: string, text: string): void {
  process.stderr.write(`${name}: ${oneLine(text)}\n`)
  process.exitCode = 1
}

/** Runs a command and sets the exit code. Who reads no more of the output is let go; output that cannot be written is a failure. */
export async function run(name: string, command: () => Promise<void>): Promise<void> {
  let said = false
  process.stdout.on('error', error => {
    if (isUnread(error) || said) return
    said = true
    fail(name, lostOutput(error))
  })
  try {
    await command()
  } catch (error) {
    if (!said) for (const line of linesOf(error)) fail(name, line)
    said = true
  }
}

/** One for each mistake of a configuration. */
function linesOf(error: unknown): string[] {
  const problems = error instanceof MaildropError && error.code === 'CONFIG_INVALID' ? error.problems : []
  return problems.length > 0 ? problems.map(({ where, text }) => `${where}: ${text}`) : [explained(error)]
}

const isUnread = (error: Error): boolean => (error as NodeJS.ErrnoException).code === 'EPIPE'

/** Why the output cannot be written. */
export function lostOutput(error: Error | null): string {
  if (error === null || isUnread(error)) return 'nobody reads the output any more'
  return `the output cannot be written: ${error.message}`
}

/** Wrong usage: one line that says what, and where help is. @param helper whose `--help` tells about it */
export function usageError(name: string, problem: string, helper = name): never {
  process.stderr.write(`${name}: ${oneLine(problem)}; see ${helper} --help\n`)
  process.exit(2)
}

/** Text of files and servers must not control the terminal. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '?')
}

/** Messages quote names of files and what servers say. */
const oneLine = (message: string): string => printable(message.trim().replace(/\s*\n\s*/g, ' '))

/** `1 message`, `1,234 messages`. */
export function messages(count: number): string {
  return `${count.toLocaleString('en')} ${count === 1 ? 'message' : 'messages'}`
}
