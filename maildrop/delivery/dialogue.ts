/**
 * nodemailer's SMTPConnection with hard deadlines: it follows which commands are out and which have been answered, and ends
 * the connection when the server takes too long for one of them, however it spends that time.
 *
 * nodemailer's own time limits are about silence, which a server avoids by sending a byte now and then. What passes is seen
 * in its log of the transaction, where secrets are masked; nothing of that is kept but the commands' verbs and the extensions.
 */
import SMTPConnection, { type SMTPConnectionOptions } from 'nodemailer/lib/smtp-connection'
import { openAlarm } from './alarm.ts'
import type { Deadlines } from './deadlines.ts'
import { type Inside, openInside } from './inside.ts'

export interface Dialogue {
  readonly connection: SMTPConnection
  readonly inside: Inside
  /** What the server has still to answer, in order: `greeting`, verbs of commands, `message`. */
  readonly unanswered: readonly string[]
  /** The last reply to EHLO; empty if there was none. */
  readonly extensions: string
  /** Steps that have not ended. */
  readonly going: number
  /** What the server owes at the moment; undefined if nothing. */
  readonly silence: Silence | undefined
  /** True if it was ended because there was no answer to an envelope that went behind a message. */
  readonly unheard: boolean
  /**
   * Starts something of nodemailer's that calls back. Fails when the connection does, when a deadline has passed, and at `end`.
   * @param limit milliseconds for all of it
   */
  step<T>(what: string, limit: number, start: (done: Done<T>) => void): Promise<T>
  /** The envelope whose commands follow goes behind a message. */
  behind(): void
  /** The transfer of a message of so many bytes begins. */
  transfer(size: number): void
  /** The server has taken another piece of the message. */
  piece(): void
  /** All pieces of the message are on their way. */
  dot(): void
  /** Closes the connection; what is going on fails with `why`. */
  end(why: unknown): void
}

/** What has not come of the server, such as `no greeting`, and since when, in milliseconds of performance.now(). */
export interface Silence {
  readonly text: string
  readonly since: number
}

export type Done<T> = (error?: Error | null, value?: T) => void

/** What nodemailer logs, as far as it is of interest. */
interface Entry {
  readonly tnx?: string | undefined
  /** Bytes that the server sent in the clear behind its answer to STARTTLS. */
  readonly discarded?: number | undefined
}

const GREETING = 'greeting'
/** The answer that a server gives to STARTTLS by negotiating TLS. */
export const HANDSHAKE = 'handshake'
/** The answer to the final dot. */
export const MESSAGE = 'message'
const LACKS: Readonly<Record<string, string>> = {
  [GREETING]: 'no greeting',
  [HANDSHAKE]: 'no TLS handshake',
  [MESSAGE]: 'no answer to the message',
}
const VERBS = new Set(['EHLO', 'HELO', 'STARTTLS', 'AUTH', 'MAIL', 'RCPT', 'DATA', 'RSET', 'QUIT'])

export function openDialogue(options: SMTPConnectionOptions, deadlines: Deadlines): Dialogue {
  const unanswered = [GREETING]
  let extensions = ''
  /** What is going on, in order; more than one only if an envelope has gone with the message before it. */
  const steps = new Set<(error: Error) => void>()

  const failAll = (error: Error): void => {
    for (const fail of [...steps]) fail(error)
  }
  const end = (why: unknown): void => {
    const error = why instanceof Error ? why : new Error(String(why))
    const going = [...steps]
    connection.close()
    for (const fail of going) fail(error)
  }
  let isBehind = false
  let isUnheard = false
  let since = 0
  const stage = openAlarm()
  const whole = openAlarm()
  const arm = (limit: number, text: string): void => {
    since = performance.now()
    if (!connection.destroyed) stage.set(limit, () => end(`${text} within ${seconds(limit)}`))
  }
  const armWhole = (limit: number, what: string): void => {
    if (!connection.destroyed) whole.set(limit, () => end(`${what} took more than ${seconds(limit)}`))
  }
  const armBehind = (next: string): void => {
    since = performance.now()
    if (connection.destroyed) return
    stage.set(deadlines.behind, () => {
      isUnheard = true
      end(`no complete answer to ${next}, sent behind a message, within ${seconds(deadlines.behind)}`)
    })
  }
  const awaitNext = (): void => {
    const [next] = unanswered
    if (next === undefined) stage.clear()
    else if (next === HANDSHAKE) arm(deadlines.command, 'no TLS handshake')
    else if (isBehind && next !== MESSAGE) armBehind(next)
    else arm(next === 'DATA' ? deadlines.data : deadlines.command, `no complete answer to ${next}`)
  }
  const awaitConnection = (): void => {
    since = performance.now()
    stage.set(deadlines.connect, () => {
      if (connection.stage !== 'connected') end(`no connection within ${seconds(deadlines.connect)}`)
      else arm(deadlines.greeting, 'no complete greeting')
    })
  }

  const asked = (command: string): void => {
    const verb = command === '.' ? MESSAGE : verbOf(command)
    if (unanswered[0] === HANDSHAKE) unanswered.shift()
    unanswered.push(verb)
    if (unanswered.length === 1) awaitNext()
  }
  const answered = (reply: string): void => {
    const verb = unanswered.shift()
    if (verb === 'EHLO') extensions = reply
    if (verb === 'STARTTLS' && reply.startsWith('2')) unanswered.push(HANDSHAKE)
    awaitNext()
  }
  const debug = (entry: Entry | string = '', text = ''): void => {
    if (typeof entry === 'string') return
    const { tnx, discarded } = entry
    if (tnx === 'client') asked(text)
    else if (tnx === 'server') answered(text)
    else if (discarded !== undefined)
      end(
        new Error(
          `${discarded} bytes came unencrypted behind the answer to STARTTLS: somebody may have put them there`,
        ),
      )
  }

  const connection = new SMTPConnection({
    ...options,
    connectionTimeout: deadlines.opening,
    greetingTimeout: deadlines.opening,
    socketTimeout: 2 * Math.max(deadlines.dot, deadlines.opening),
    socketCloseTimeout: 1000,
    maxResponseSize: 64 * 1024,
    transactionLog: true,
  })
  // In the place of nodemailer's own, which copies every entry.
  connection.logger = { trace: debug, debug, info: debug, warn: debug, error: debug, fatal: debug }
  const inside = openInside(connection)
  connection.on('error', failAll)
  connection.once('end', () => {
    stage.close()
    whole.close()
    // Behind nodemailer's own callbacks, which know more.
    setImmediate(() => failAll(new Error('the server closed the connection')))
  })

  return {
    connection,
    unanswered,
    inside,
    get extensions() {
      return extensions
    },
    get going() {
      return steps.size
    },
    get silence() {
      const [next] = unanswered
      if (steps.size === 0 || next === undefined || connection.destroyed) return undefined
      const isConnecting = next === GREETING && connection.stage !== 'connected'
      return { text: isConnecting ? 'no connection' : (LACKS[next] ?? `no answer to ${next}`), since }
    },
    get unheard() {
      return isUnheard
    },
    step: (what, limit, start) =>
      new Promise((resolve, reject) => {
        const done: Done<never> = (error, value) => {
          if (!steps.delete(done)) return
          if (steps.size === 0) {
            isBehind = false
            stage.clear()
            whole.clear()
          }
          if (error) reject(error)
          else resolve(value as never)
        }
        steps.add(done)
        armWhole(limit, what)
        if (unanswered[0] === GREETING) awaitConnection()
        start(done as Done<unknown>)
      }),
    behind() {
      isBehind = true
    },
    transfer(size) {
      isBehind = false
      unanswered.push(MESSAGE)
      armWhole(deadlines.piece + (size / deadlines.slowest) * 1000, 'the transfer of the message')
    },
    piece: () => arm(deadlines.piece, 'no more of the message was taken'),
    dot() {
      whole.clear()
      arm(deadlines.dot, 'no complete answer to the message')
    },
    end,
  }
}

/** What is no verb is a part of a login. */
function verbOf(command: string): string {
  const end = command.indexOf(' ')
  const verb = end === -1 ? command : command.slice(0, end)
  return VERBS.has(verb) ? verb : 'AUTH'
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} seconds`
}
