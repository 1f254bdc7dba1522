/**
 * A database that another process has open: the command is carried out there, through the socket beside the database.
 *
 * A command that was accepted is never sent again, as it may have changed something; one that was not accepted is, or is carried out here
 * once the database is free.
 */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Invocation, Listener } from '../administration/command.ts'
import { errorOf } from '../administration/failures.ts'
import { lineCutter } from '../administration/lines.ts'
import { SOCKET, shortPath } from '../administration/socket-path.ts'
import { type Application, type Database, ObjectError } from '../objects/index.ts'

/** Milliseconds to wait for a process that has the database open and does not answer: it may be opening or closing it. */
const PATIENCE = 5000
/** The same for several, one after the other. */
const PATIENCE_IN_ALL = 60_000
const LONGEST_REPLY = 2 ** 29

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

/** @returns undefined if nobody is there who carries it out; then nothing has been done */
async function ask(
  directory: string,
  invocation: Invocation,
  listener: Listener,
): Promise<{ readonly result: unknown } | undefined> {
  const { MAX_REQUEST, VERSION } = await import('../administration/wire.ts')
  const line = Buffer.from(`${JSON.stringify({ objtree: VERSION, ...invocation })}\n`)
  if (line.length > MAX_REQUEST)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `what is to be handed to the process that has ${directory} open is too long; name a file instead`,
    )
  const socket = await connected(directory)
  if (socket === undefined) return undefined
  const end = () => socket.destroy()
  listener.signal.addEventListener('abort', end)
  try {
    socket.write(line)
    return await conversation(socket, directory, listener)
  } finally {
    listener.signal.removeEventListener('abort', end)
    socket.destroy()
  }
}

async function connected(directory: string): Promise<Socket | undefined> {
  const { path, release } = shortPath(directory, SOCKET)
  const socket = connect(path)
  try {
    await once(socket, 'connect')
    socket.on('error', () => undefined)
    return socket
  } catch {
    return undefined
  } finally {
    release()
  }
}

async function conversation(
  socket: Socket,
  directory: string,
  listener: Listener,
): Promise<{ readonly result: unknown } | undefined> {
  const { parsed, Reply } = await import('../administration/wire.ts')
  let accepted = false
  let emitted = false
  for await (const line of linesOf(socket)) {
    const { data: reply, success } = Reply.safeParse(parsed(line))
    if (!success) throw new ObjectError('DATABASE_FAILED', `${join(directory, SOCKET)}: the answer is not understood`)
    if ('accepted' in reply) accepted = true
    else if ('progress' in reply) {
      const { unit, done, total, about } = reply.progress
      listener.progress({ unit, done, ...(total !== undefined && { total }), ...(about && { about }) })
    } else if ('error' in reply) {
      if (reply.again && !emitted) return undefined
      throw errorOf(reply.error)
    } else if ('result' in reply) return { result: reply.result }
    else {
      emitted = true
      await listener.emit('bytes' in reply ? Buffer.from(reply.bytes, 'base64') : reply.part)
    }
  }
  listener.signal.throwIfAborted()
  if (!accepted) return undefined
  throw new ObjectError(
    'DATABASE_CLOSED',
    `the process that has ${directory} open ended while it carried out the command; 'objtree log' tells whether it changed anything`,
  )
}

async function* linesOf(socket: Socket): AsyncGenerator<string> {
  const lines: string[] = []
  const cut = lineCutter(line => lines.push(line), LONGEST_REPLY)
  try {
    for await (const piece of socket) {
      cut(piece as Buffer)
      yield* lines.splice(0)
    }
  } catch (error) {
    // a connection that broke ends as one that was closed
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error
  }
}
