/**
 * The control socket: how `maildropctl` asks a running daemon, beside its pid file, with the mode 0600.
 *
 *     → {"command":"status"}
 *     ← {"ok":true,"result":{…}}     or     {"ok":false,"code":"CONFIG_INVALID","message":"…"}
 *
 * One JSON object per line, both ways; requests on one connection are answered in turn. Who sends nothing for a while, or
 * too long a line, or too many requests ahead, is cut off, and connections beyond a few are refused, so no client disturbs the daemon. It delivers
 * without the socket as well: where that cannot be made, a line in the log says so.
 *
 * The path of a Unix socket has at most 107 bytes. A longer one is reached by its name alone, from its directory.
 */
import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname } from 'node:path'
import { isMaildropErrorCode, MaildropError, messageOf, systemCode } from '../errors.ts'
import type { Response } from './control-shape.ts'

export const CONTROL_COMMANDS = ['status', 'reload', 'flush', 'drain'] as const
export type ControlCommand = (typeof CONTROL_COMMANDS)[number]

/** What the daemon does when asked. */
export type ControlHandler = (command: ControlCommand) => Promise<unknown>

/** Longest request, longest response, in characters. */
const MAX_REQUEST = 4096
const MAX_RESPONSE = 1024 * 1024
const MAX_CLIENTS = 16
/** Requests that one client may send ahead. */
const MAX_WAITING = 16
/** Milliseconds in which a client has to send its request, and the daemon to answer what it can answer at once. */
const PATIENCE = 10_000
/** Bytes that a path may have. */
const MAX_PATH = 100

/** The socket belongs to whoever holds the pid file. */
export function controlPath(pidFile: string): string {
  return `${pidFile.replace(/\.pid$/, '')}.sock`
}

/**
 * Listens; replaces what a dead daemon left. To be called by the holder of the pid file only.
 * @returns a function that closes the socket and removes it
 * @throws the system's error
 */
export async function serveControl(path: string, handle: ControlHandler): Promise<() => Promise<void>> {
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket()) unlinkSync(path)
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, socket => {
    clients.add(socket)
    socket.on('close', () => clients.delete(socket))
    converse(socket, handle)
  })
  server.maxConnections = MAX_CLIENTS
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', resolve)
    near(path, name => server.listen(name))
  })
  server.on('error', () => undefined)
  chmodSync(path, 0o600)
  return () => closeServer(path, server, clients)
}

function closeServer(path: string, server: Server, clients: ReadonlySet<Socket>): Promise<void> {
  return new Promise(resolve => {
    // Closing removes the name it was bound to, which may be one relative to its directory.
    near(path, () => server.close(() => resolve()))
    for (const socket of clients) socket.destroySoon()
  })
}

function converse(socket: Socket, handle: ControlHandler): void {
  let rest = ''
  let waiting = 0
  let answering = Promise.resolve()
  socket.setEncoding('utf8')
  socket.setTimeout(PATIENCE, () => socket.destroy())
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    waiting += lines.length
    const tooMuch = waiting > MAX_WAITING || [rest, ...lines].some(line => line.length > MAX_REQUEST)
    if (tooMuch) return void socket.destroy()
    for (const line of lines) {
      answering = answering.then(async () => {
        if (socket.destroyed) return
        socket.setTimeout(0)
        const answer = await answerTo(line, handle)
        if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`)
        socket.setTimeout(PATIENCE)
        waiting -= 1
      })
    }
  })
  socket.on('end', () => answering.then(() => socket.end()))
}

async function answerTo(line: string, handle: ControlHandler): Promise<Response> {
  try {
    const { Request } = await import('./control-shape.ts')
    const request = Request.safeParse(parsed(line))
    if (!request.success) {
      const message = `expected {"command":…} with one of ${CONTROL_COMMANDS.join(', ')}`
      throw new MaildropError('CONTROL_FAILED', message)
    }
    return { ok: true, result: await handle(request.data.command) }
  } catch (error) {
    const code = error instanceof MaildropError ? error.code : 'CONTROL_FAILED'
    return { ok: false, code, message: messageOf(error) }
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

/**
 * Asks a running daemon.
 * @param patience milliseconds to wait for the answer
 * @throws {MaildropError} CONTROL_FAILED if there is no usable answer; the daemon's own error
 */
export async function askDaemon(path: string, command: ControlCommand, patience = PATIENCE): Promise<unknown> {
  const line = await new Promise<string>((resolve, reject) => {
    let text = ''
    const fail = (why: string): void => {
      reject(new MaildropError('CONTROL_FAILED', `the daemon does not answer on ${path}: ${why}`, { path }))
      socket.destroy()
    }
    const socket = near(path, name => connect(name))
    const timer = setTimeout(() => fail(`no answer after ${patience / 1000} seconds`), Math.min(patience, 2 ** 31 - 1))
    socket.setEncoding('utf8')
    socket.on('error', error => fail(refusal(error)))
    socket.on('data', (chunk: string) => {
      text += chunk
      const end = text.indexOf('\n')
      if (end >= 0) {
        resolve(text.slice(0, end))
        socket.destroy()
      } else if (text.length > MAX_RESPONSE) fail('the answer is too long')
    })
    socket.on('close', () => {
      clearTimeout(timer)
      fail('it closed the connection')
    })
    socket.write(`${JSON.stringify({ command })}\n`)
  })
  const { Response } = await import('./control-shape.ts')
  const response = Response.safeParse(parsed(line))
  if (!response.success) throw new MaildropError('CONTROL_FAILED', `${path}: the answer is not one of a daemon`)
  if (response.data.ok) return response.data.result
  const { code, message } = response.data
  throw new MaildropError(isMaildropErrorCode(code) ? code : 'CONTROL_FAILED', message)
}

function refusal(error: Error): string {
  const code = systemCode(error)
  if (code === 'EACCES' || code === 'EPERM') return `${code}; run as the user who started it`
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return `${code}; see its log, and restart it`
  return messageOf(error)
}

/** Runs `use`, which has to be done with the name when it returns, with a name of the path that is short enough. */
function near<T>(path: string, use: (name: string) => T): T {
  if (Buffer.byteLength(path) <= MAX_PATH) return use(path)
  const before = workingDirectory()
  process.chdir(dirname(path))
  try {
    return use(basename(path))
  } finally {
    process.chdir(before)
  }
}

/** The directory that this process works in may have been removed. */
function workingDirectory(): string {
  try {
    return process.cwd()
  } catch {
    return '/'
  }
}
