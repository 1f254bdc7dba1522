/**
 * The shell: Node's REPL with a tree in it.
 *
 *     app      the root, in one transaction that lasts until the next commit() or abort()
 *     db       the Database
 *     commit(note?), abort()
 *
 * and the names that the package exports. The prompt says when there is something to commit; who leaves then is asked, and without a
 * terminal it is an error, and nothing is committed.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { type REPLServer, start } from 'node:repl'
import { PassThrough } from 'node:stream'
import { inspect } from 'node:util'
import * as names from '../objects/index.ts'
import { type Application, type Connection, type Database, Folder, ObjectError } from '../objects/index.ts'

const NAME = 'objtree'

/** @throws {ObjectError} CONNECTION_DIRTY if the input ended with changes that were not committed */
export async function shell(db: Database<Application>, user: string): Promise<void> {
  const connection = db.open()
  const terminal = process.stdin.isTTY === true && process.stdout.isTTY === true
  if (terminal) process.stdout.write(`${db.location}: app, db, await commit(), await abort(); .exit leaves\n`)
  try {
    for (;;) {
      await session(connection, db, user, terminal)
      if (!connection.hasChanges()) return
      if (!terminal)
        throw new ObjectError('CONNECTION_DIRTY', 'the changes were not committed: nothing said await commit()')
      const answer = await asked('there are changes: [c]ommit, [d]iscard, or [s]tay? ')
      if (answer === 'd') return
      if (answer === 'c') await committed(connection, user).catch(complain)
    }
  } finally {
    connection.release()
  }
}

/** Reads and evaluates until the user leaves. */
async function session(
  connection: Connection<Application>,
  db: Database<Application>,
  user: string,
  terminal: boolean,
): Promise<void> {
  const prompt = () => (!terminal ? '' : connection.hasChanges() ? `${NAME} (changed)> ` : `${NAME}> `)
  // lines of a script one after the other: the next one when the last has been evaluated, await included
  const lines = terminal ? undefined : createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const input = new PassThrough()
  const feed = async (): Promise<void> => {
    const next = await lines?.next()
    if (next?.done === false) input.write(`${next.value}\n`)
    else input.end()
  }
  const server = start({
    prompt: prompt(),
    input: terminal ? process.stdin : input,
    output: process.stdout,
    terminal,
    ignoreUndefined: true,
    // it would read the tree while something is being typed
    preview: false,
    writer: value => shown(value, terminal && process.stdout.hasColors()),
  })
  Object.assign(server.context, names, {
    db,
    connection,
    commit: (note = '') => committed(connection, user, String(note)),
    abort: async () => {
      await connection.transaction.abort()
    },
  })
  Object.defineProperty(server.context, 'app', { get: () => connection.root, enumerable: true, configurable: true })
  completeTree(server, connection)
  const display = server.displayPrompt.bind(server)
  server.displayPrompt = preserve => {
    if (!terminal) return void feed()
    server.setPrompt(prompt())
    display(preserve)
  }
  if (terminal) server.setupHistory(join(homedir(), '.objtree_history'), () => undefined)
  else void feed()
  await new Promise<void>(resolve => server.once('exit', resolve))
}

async function committed(connection: Connection<Application>, user: string, note = ''): Promise<void> {
  const { transaction } = connection
  transaction.user = user
  transaction.note = note || `${NAME} shell`
  await transaction.commit()
}

/**
 * A string that begins with a slash is a path in the tree, and what `app.traverse("/path")` gives has properties, which Node does not look for
 * behind a call; all else is completed as Node does.
 */
function completeTree(server: REPLServer, connection: Connection<Application>): void {
  type Completer = (line: string, done: (error: Error | null, found: [string[], string]) => void) => void
  const target = server as unknown as { completer: Completer }
  const usual = target.completer
  target.completer = (line, done) => {
    const path = /["'`](\/[^"'`]*)$/.exec(line)?.[1]
    if (path !== undefined) return done(null, [pathsFrom(connection.root, path), path])
    const [, object, name] = /\bapp\.traverse\(["'`](\/[^"'`]*)["'`]\)\.([\w$]*)$/.exec(line) ?? []
    if (object === undefined || name === undefined) return usual.call(server, line, done)
    done(null, [namesOf(connection.root, object).filter(each => each.startsWith(name)), name])
  }
}

function pathsFrom(app: Application, path: string): string[] {
  const parent = path.slice(0, path.lastIndexOf('/') + 1)
  try {
    const folder = app.traverse(parent)
    if (!(folder instanceof Folder)) return []
    return Array.from(
      folder.entries(),
      ([id, object]) => `${parent}${id}${object instanceof Folder ? '/' : ''}`,
    ).filter(each => each.startsWith(path))
  } catch {
    return []
  }
}

/** The properties and methods of the object at a path, but those that are for the inside. */
function namesOf(app: Application, path: string): string[] {
  try {
    const names = new Set<string>()
    for (let at: object = app.traverse(path); at !== Object.prototype; at = Object.getPrototypeOf(at))
      for (const name of Reflect.ownKeys(at))
        if (typeof name === 'string' && name !== 'constructor' && !name.startsWith('_')) names.add(name)
    return [...names].sort()
  } catch {
    return []
  }
}

/** Errors on one line, without the places in Node's own code; objects as they are stored. */
function shown(value: unknown, colors: boolean): string {
  if (!(value instanceof Error)) return inspect(value, { colors, showProxy: false })
  const { code } = value as { code?: unknown }
  return `${value.name}${typeof code === 'string' ? ` [${code}]` : ''}: ${value.message}`
}

async function asked(question: string): Promise<string> {
  const lines = createInterface({ input: process.stdin, output: process.stdout })
  try {
    const ended = new Promise<string>(resolve => lines.once('close', () => resolve('d')))
    return (await Promise.race([lines.question(question), ended])).trim().toLowerCase().slice(0, 1)
  } finally {
    lines.close()
  }
}

function complain(error: unknown): void {
  process.stderr.write(`${shown(error, false)}\n`)
}
