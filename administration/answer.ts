/**
 * One connection of the socket beside a database: reads the command, carries it out, answers. Whatever comes in, nothing is thrown and
 * nobody else is disturbed. What is said is specified in wire.ts.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type Application, type Database, ObjectError } from '../objects/index.ts'
import { mailSystemOf } from '../objects/mail-system.ts'
import type { Context, TreeCommand } from './command.ts'
import { isCommand, loadCommand } from './commands/index.ts'
import { failureOf } from './failures.ts'
import { type LineTooLong, lineCutter } from './lines.ts'
import { MAX_REQUEST, parsed, partReply, type Reply, Request } from './wire.ts'

export interface Served {
  readonly database: Database<Application>
  /** Aborted when the database is about to be closed. */
  readonly closing: AbortSignal
  /** Those that have been asked for something, each until it has answered. */
  readonly working: Map<Socket, Promise<unknown>>
}

/** Milliseconds in which the command has to be said. */
const PATIENCE = 30_000
/** Characters that the beginning of a conversation about the storage has at most. */
const MAX_GREETING = 2000
/** Milliseconds between two reports of progress. */
const PROGRESS = 100
/** Milliseconds in which the mail of a command should be in the spool. */
const PUBLISHING = 5000

/** @returns when it is answered; never throws */
export async function answer(socket: Socket, served: Served): Promise<void> {
  const gone = new AbortController()
  socket.on('error', () => socket.destroy())
  socket.on('close', () => gone.abort())
  const send = async (reply: Reply): Promise<void> => {
    gone.signal.throwIfAborted()
    if (!socket.write(`${JSON.stringify(reply)}\n`)) await once(socket, 'drain', { signal: gone.signal })
  }
  try {
    const asked = await request(socket)
    if (asked === undefined) return
    if (asksForStorage(asked.line)) {
      const { serveStorage } = await import('./remote/session.ts')
      const busy = (work: Promise<unknown>) => void working(socket, served, work)
      const session = serveStorage(socket, { database: served.database, onward: asked.onward, busy })
      // it listens already
      await send({ accepted: true })
      return await session
    }
    await working(socket, served, reply(asked.line, served, gone.signal, send).then(send))
  } catch {
    // nobody is there any more to be told
  } finally {
    socket.end()
  }
}

/** Has the closing of the database wait for that. */
async function working(socket: Socket, { working }: Served, work: Promise<unknown>): Promise<void> {
  const all = Promise.allSettled([working.get(socket), work])
  working.set(socket, all)
  await all
  if (working.get(socket) === all) working.delete(socket)
}

function asksForStorage(line: string | LineTooLong): boolean {
  if (typeof line !== 'string' || line.length > MAX_GREETING) return false
  const request = Request.safeParse(parsed(line))
  return request.success && request.data.command === 'storage'
}

interface Asked {
  readonly line: string | LineTooLong
  /** Has what comes from now on handed over. */
  onward(take: (piece: Buffer) => void): void
}

/** The first line; undefined if there is none. What comes after it ends the connection; what is too long is dropped, and then answered. */
function request(socket: Socket): Promise<Asked | undefined> {
  return new Promise(resolve => {
    let said = false
    const onward = (next: (piece: Buffer) => void) => {
      take = next
    }
    let take = lineCutter(line => {
      if (said) return void socket.destroy()
      said = true
      take = () => socket.destroy()
      socket.setTimeout(0)
      resolve({ line, onward })
    }, MAX_REQUEST)
    socket.setTimeout(PATIENCE, () => socket.destroy())
    socket.on('close', () => resolve(undefined))
    socket.on('data', piece => {
      try {
        take(piece)
      } catch (error) {
        take = () => undefined
        resolve({ line: error as LineTooLong, onward })
      }
    })
  })
}

async function reply(
  line: string | LineTooLong,
  { database, closing }: Served,
  gone: AbortSignal,
  send: (reply: Reply) => Promise<void>,
): Promise<Reply> {
  try {
    const { command, invocation } = await understood(line)
    closing.throwIfAborted()
    await send({ accepted: true })
    const context: Context = {
      db: database,
      directory: database.location,
      user: invocation.user,
      note: invocation.note,
      signal: AbortSignal.any([gone, closing]),
      watched: true,
      progress: reporter(send),
      emit: part => send(partReply(part)),
    }
    const result = await command.run(context, invocation.args)
    await Promise.race([mailSystemOf(database).publisher.settled(), delay(PUBLISHING, undefined, { ref: false })])
    return { result: result ?? null }
  } catch (error) {
    return { error: failureOf(error), ...(closing.aborted && { again: true }) }
  }
}

async function understood(line: string | LineTooLong): Promise<{ command: TreeCommand; invocation: Request }> {
  if (typeof line !== 'string') throw new ObjectError('INVALID_ARGUMENT', `too much was sent: ${line.message}`)
  const request = Request.safeParse(parsed(line))
  if (!request.success) {
    const [issue] = request.error.issues
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `the request is not understood: ${[issue?.path.join('.'), issue?.message].filter(Boolean).join(': ')}`,
    )
  }
  const { command: name } = request.data
  if (!isCommand(name)) throw new ObjectError('INVALID_ARGUMENT', `the application knows no command '${name}'`)
  const command = await loadCommand(name)
  if (command.works === 'directory')
    throw new ObjectError('INVALID_ARGUMENT', `'${name}' is not carried out by the process that has the database open`)
  return { command, invocation: request.data }
}

/** Tells how far the work is, but not more often than anybody can look. */
function reporter(send: (reply: Reply) => Promise<void>): Context['progress'] {
  let last = 0
  return progress => {
    if (performance.now() - last < PROGRESS) return
    last = performance.now()
    send({ progress }).catch(() => undefined)
  }
}
