/**
 * The password of a login, wherever it comes from. It is asked for when it is needed, and again after the server has
 * refused it, so that one that has been changed, or an access token that has expired, is replaced without a restart.
 *
 * What is known of it stays here: no message holds it, nor what the command or the file says besides.
 */
import { type Command, runCommand } from '../command.ts'
import { messageOf } from '../errors.ts'
import { readSmallFile, SMALL } from '../small-file.ts'
import type { PasswordSource } from '../smtp-config.ts'

export interface Passwords {
  /**
   * @returns the password, and whether it may be outdated because it was asked for earlier
   * @throws Error saying why there is none
   */
  get(): Promise<{ readonly password: string; readonly kept: boolean }>
  /** The server has refused this one. */
  refused(password: string): void
}

/** Milliseconds that the command may take. */
const COMMAND_TIME = 30_000
/** Bytes that it may print. */
const MAX_OUTPUT = 64 * 1024

/** @param limit milliseconds that the command may take */
export function openPasswords(source: PasswordSource, limit = COMMAND_TIME): Passwords {
  if (source.from !== 'command')
    return {
      get: async () => ({ password: source.from === 'value' ? source.value : firstLineOf(source.path), kept: false }),
      refused: () => undefined,
    }
  let kept: string | undefined
  let asking: Promise<string> | undefined
  const ask = async (): Promise<string> => {
    try {
      kept = await outputOf(source.command, limit)
      return kept
    } finally {
      asking = undefined
    }
  }
  return {
    async get() {
      if (kept !== undefined) return { password: kept, kept: true }
      asking ??= ask()
      return { password: await asking, kept: false }
    },
    refused(password) {
      if (kept === password) kept = undefined
    },
  }
}

function firstLineOf(path: string): string {
  let text: string
  try {
    text = readSmallFile(path, SMALL)
  } catch (error) {
    throw new Error(`cannot read MAILDROP_PASSWORD_FILE ${path}: ${messageOf(error)}`)
  }
  return firstLine(text, `MAILDROP_PASSWORD_FILE ${path}`)
}

/** What the command prints is nobody's business, also when it fails. */
async function outputOf(command: Command, limit: number): Promise<string> {
  const name = `MAILDROP_PASSWORD_COMMAND ${command[0]}`
  const { problem, output } = await runCommand(command, { limit, maxOutput: MAX_OUTPUT })
  if (problem === undefined) return firstLine(output.toString('utf8'), name)
  throw new Error(`${name} ${problem}${problem.startsWith('failed') ? '; run it by hand to see why' : ''}`)
}

function firstLine(text: string, name: string): string {
  const [line = ''] = text.split(/\r?\n/, 1)
  if (line === '') throw new Error(`${name}: its first line is empty, where the password should be`)
  if (/\p{Cc}/u.test(line)) throw new Error(`${name}: its first line contains control characters`)
  if (line.includes('\ufffd')) throw new Error(`${name}: its first line is no text in UTF-8`)
  return line
}
