/**
 * A command, carried out by the process that has the database open: through the socket beside the database, as wire.ts says.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { ObjectError } from '../objects/index.ts'
import type { Invocation, Listener } from './command.ts'
import { errorOf } from './failures.ts'
import { lineCutter } from './lines.ts'
import { SOCKET, shortPath } from './socket-path.ts'

const LONGEST_REPLY = 2 ** 29

/** @returns undefined if nobody is there who carries it out; then nothing has been done */
export async function ask(
  directory: string,
  invocation: Invocation,
  listener: Listener,
): Promise<{ readonly result: unknown } | undefined> {
  const { MAX_REQUEST, VERSION } = await import('./wire.ts')
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
  const { parsed, Reply } = await import('./wire.ts')
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
