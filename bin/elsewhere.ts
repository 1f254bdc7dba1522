/**
 * A database that another process has open: the command is carried out there, through the socket beside the database.
 *
 * A command that was accepted is never sent again, as it may have changed something; one that was not accepted is, or is carried out here
 * once the database is free.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { ask } from '../administration/ask.ts'
import type { Invocation, Listener } from '../administration/command.ts'
import { SOCKET } from '../administration/socket-path.ts'
import { type Application, type Database, ObjectError } from '../objects/index.ts'

/** Milliseconds to wait for a process that has the database open and does not answer: it may be opening or closing it. */
const PATIENCE = 5000
/** The same for several, one after the other. */
const PATIENCE_IN_ALL = 60_000

/**
 * @param here opens the database in this process
 * @returns the opened database, or what the process that has it open answered
 * @throws {ObjectError} DATABASE_LOCKED if neither is possible
 */
export async function openHereOrAsk(
  directory: string,
  invocation: Invocation,
  listener: Listener,
  here: () => Promise<Database<Application>>,
): Promise<Database<Application> | { readonly result: unknown }> {
  const start = performance.now()
  let since = start
  let holder = ''
  for (let wait = 5; ; wait = Math.min(2 * wait, 200)) {
    const answered = existsSync(join(directory, SOCKET)) ? await ask(directory, invocation, listener) : undefined
    if (answered !== undefined) return answered
    try {
      return await here()
    } catch (error) {
      if (!(error instanceof ObjectError) || error.code !== 'DATABASE_LOCKED') throw error
      const now = performance.now()
      // the message names the process
      if (error.message !== holder) since = now
      holder = error.message
      if (now > since + PATIENCE || now > start + PATIENCE_IN_ALL) throw unreachable(error)
    }
    await delay(wait, undefined, { signal: listener.signal })
  }
}

function unreachable(cause: ObjectError): ObjectError {
  const why =
    'it does not answer on its socket; a process that opens a database with `socket: false` carries out no commands of others'
  return new ObjectError('DATABASE_LOCKED', `${cause.message}; ${why}`, { cause })
}
