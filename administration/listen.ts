/**
 * The socket beside a database that an application has open: `objtree` has its commands carried out through it.
 *
 * The database's lock is the only lock: whoever has the database open owns the socket, and replaces what a dead process left. It is made in
 * a directory that nobody else may enter, and renamed to its place with the mode 0600, so there is no moment in which others can connect.
 * Where it cannot be made, that is a warning: the database is open without it. It keeps no process alive, except while a command runs.
 */
import { chmodSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Application, Database } from '../objects/index.ts'
import { SOCKET, shortPath } from './socket-path.ts'

const MAKING = '.objtree.sock'
const MAX_CLIENTS = 64
/** Milliseconds that commands have to end in when the database is closed. */
const ENDING = 5000

/** Serves until the database is closed. */
export async function listen(database: Database<Application>): Promise<void> {
  if (process.platform === 'win32') return
  const closing = new AbortController()
  const connected = new Set<Socket>()
  const working = new Map<Socket, Promise<unknown>>()
  const server = createServer(socket => {
    connected.add(socket)
    socket.on('error', () => socket.destroy())
    socket.on('close', () => connected.delete(socket))
    // not before it is needed: most applications are never asked
    import('./answer.ts')
      .then(({ answer }) => answer(socket, { database, closing: closing.signal, working }))
      .catch(() => socket.destroy())
  })
  server.maxConnections = MAX_CLIENTS
  let release: () => void
  try {
    release = await bind(server, database.location)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    process.emitWarning(`objtree cannot reach the open database ${database.location}: ${why}`, 'DatabaseWarning')
    return
  }
  server.on('error', () => undefined)
  server.unref()
  database.beforeClose(async () => {
    rmSync(join(database.location, SOCKET), { force: true })
    server.close(release)
    closing.abort()
    for (const socket of connected) if (!working.has(socket)) socket.destroy()
    await Promise.race([Promise.allSettled(working.values()), delay(ENDING, undefined, { ref: false })])
    for (const socket of connected) socket.destroySoon()
  })
}

/** @returns what releases the name that the server was bound to */
async function bind(server: Server, directory: string): Promise<() => void> {
  const making = join(directory, MAKING)
  rmSync(making, { recursive: true, force: true })
  mkdirSync(making, { mode: 0o700 })
  const { path, release } = shortPath(making, SOCKET)
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ path, exclusive: true }, resolve)
    })
    chmodSync(join(making, SOCKET), 0o600)
    renameSync(join(making, SOCKET), join(directory, SOCKET))
    return release
  } catch (error) {
    server.close()
    release()
    throw error
  } finally {
    rmSync(making, { recursive: true, force: true })
  }
}
