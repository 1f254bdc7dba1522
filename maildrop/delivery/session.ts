/**
 * One connection to the SMTP server, ready to send: connected, encrypted and logged in as configured, or not opened at all.
 *
 * Built on nodemailer's SMTPConnection rather than on its pool, because what happened to a message must be known exactly:
 * the pool reports neither which recipients were refused before DATA failed, nor whether the final dot had left when the
 * connection broke. The protocol, pipelining, dot-stuffing, line endings and TLS are nodemailer's.
 *
 * Promises: a login that is configured is never skipped, and with TLS required never sent in the clear; every wait ends
 * by a deadline; after an error that leaves the dialogue in doubt the session is closed and says so (`usable`).
 */
import { readFileSync } from 'node:fs'
import { rootCertificates, TLSSocket } from 'node:tls'
import SMTPConnection, { type SMTPConnectionEnvelope } from 'nodemailer/lib/smtp-connection'
import type { SmtpConfig } from '../config.ts'
import { messageOf, systemCode } from '../errors.ts'
import type { Envelope } from '../spool/format.ts'
import { type Event, parseReply, type Stage } from './outcome.ts'
import type { Outgoing, Progress } from './outgoing.ts'

/** Milliseconds until a server that does not answer is given up. RFC 5321 section 4.5.3.2 asks for minutes. */
const DEADLINE = { connect: 30_000, greeting: 60_000, silence: 300_000, message: 600_000 }
/** Slowest transfer that is waited for, in bytes per second, on top of DEADLINE.message. */
const SLOWEST = 10_000

/** The server could not be used; `event` says at which stage and why. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly event: Event

  constructor(event: Event) {
    super(`${event.stage}: ${event.code ?? ''} ${event.text}`.replace('  ', ' '))
    this.event = event
  }
}

/** What became of a message's transaction. */
export interface Report {
  /** Recipients refused at RCPT, each with the reply. */
  readonly refused: ReadonlyMap<string, Event>
  /** What happened to the message for all others. */
  readonly end: Event
}

export interface Session {
  /** False once the connection is closed, by either side. */
  readonly usable: boolean
  /** Resolves when it is closed. */
  readonly closed: Promise<void>
  /** Messages that were tried on this connection. */
  readonly count: number
  /** How the connection is protected, for people: `TLSv1.3` or `plain`. */
  readonly protection: string
  /** Sends one message; never throws. */
  send(envelope: Envelope, message: Outgoing): Promise<Report>
  /** Says goodbye and closes. */
  quit(): void
  /** Closes at once; a message in transfer ends with the error `why`. */
  abort(why: string): void
}

/**
 * Connects, negotiates TLS and logs in.
 * @param signal ends the attempt; a session that is open stays so
 * @throws {SessionError}
 */
export async function openSession(smtp: SmtpConfig, signal?: AbortSignal): Promise<Session> {
  const connection = new SMTPConnection({
    host: smtp.host,
    port: smtp.port,
    secure: false,
    ignoreTLS: smtp.tls === 'never',
    opportunisticTLS: smtp.tls === 'offered',
    requireTLS: smtp.tls === 'required',
    tls: { rejectUnauthorized: smtp.tls === 'required', ...trustedCertificates(smtp) },
    connectionTimeout: DEADLINE.connect,
    greetingTimeout: DEADLINE.greeting,
    socketTimeout: DEADLINE.silence,
    socketCloseTimeout: 1000,
    maxResponseSize: 64 * 1024,
  })
  finishReplies(connection)
  let cancel = (): void => undefined
  const broken = new Promise<never>((_, reject) => {
    connection.on('error', reject)
    connection.once('end', () => reject(new Error('the server closed the connection')))
    cancel = () => reject(signal?.reason)
  })
  broken.catch(() => undefined)
  const step: Step = start => Promise.race([broken, settled(start)])
  signal?.addEventListener('abort', cancel)
  if (signal?.aborted) cancel()
  let stage: Stage | undefined
  try {
    await step(done => connection.connect(done))
    stage = 'login'
    const smtputf8 = offers(connection, 'SMTPUTF8')
    if (smtp.login) await login(connection, smtp.login, step)
    return sessionOver(connection, smtputf8, step)
  } catch (error) {
    const event = eventOf(error, stage ?? openingStage(connection, error))
    connection.close()
    throw new SessionError(event)
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

async function login(connection: SMTPConnection, as: NonNullable<SmtpConfig['login']>, step: Step): Promise<void> {
  if (!connection.allowsAuth) throw new Error('the server offers no login (AUTH), but MAILDROP_LOGIN is set')
  await step(done => connection.login({ user: as.user, pass: as.password }, done))
}

function sessionOver(connection: SMTPConnection, smtputf8: boolean, step: Step): Session {
  let usable = true
  let count = 0
  let abort: (why: string) => void = () => connection.close()
  const closed = new Promise<void>(resolve => {
    connection.once('end', () => {
      usable = false
      resolve()
    })
  })

  const transaction = (envelope: SMTPConnectionEnvelope, message: Outgoing, progress: Progress) =>
    new Promise<string>((resolve, reject) => {
      const limit = DEADLINE.message + (message.size / SLOWEST) * 1000
      const timer = setTimeout(() => abort(`no end after ${Math.round(limit / 1000)} seconds`), limit)
      const end = (error: Error | null | undefined, reply = ''): void => {
        clearTimeout(timer)
        if (error) reject(error)
        else resolve(reply)
      }
      abort = why => {
        connection.close()
        end(new Error(why))
      }
      connection.send(envelope, message.open(progress), (error, info) => end(error, info?.response))
    })

  return {
    get usable() {
      return usable
    },
    get count() {
      return count
    },
    closed,
    protection: protectionOf(connection),
    async send({ from, to }, message) {
      if (!smtputf8 && [from, ...to].some(address => /[^\x20-\x7e]/.test(address))) {
        const text = 'an address is not ASCII and the server does not offer SMTPUTF8'
        return { refused: new Map(), end: { stage: 'local', code: undefined, enhanced: '5.6.7', text, unfit: true } }
      }
      count += 1
      // nodemailer keeps its books about the recipients in the envelope it is given, also when the message fails.
      const envelope: SMTPConnectionEnvelope = {
        from,
        to: [...to],
        size: message.size,
        use8BitMime: true,
        ...newBooks(),
      }
      const progress: Progress = { at: 'envelope' }
      let end: Event
      try {
        end = { stage: 'dot', ...parseReply(await transaction(envelope, message, progress)) }
      } catch (error) {
        end = eventOf(error, sendingStage(error, envelope, progress))
        if (!(await recover(connection, end, progress, step))) connection.close()
      }
      // After a refused MAIL the replies to the RCPTs that were sent with it say nothing about the recipients.
      return { refused: end.stage === 'mail' ? new Map() : refusals(envelope), end }
    },
    quit() {
      if (!usable) return
      connection.quit()
      setTimeout(() => connection.close(), 2000).unref()
    },
    abort: why => abort(why),
  }
}

/** After a refusal the transaction is reset (RFC 5321 section 4.1.1.5); false if the connection is of no more use. */
async function recover(connection: SMTPConnection, end: Event, progress: Progress, step: Step): Promise<boolean> {
  if (connection.destroyed) return true
  const answered = end.code !== undefined && end.code >= 400 && end.code !== 421
  const clean = end.stage === 'dot' || progress.at === 'envelope'
  if (!clean || (!answered && !end.unfit)) return false
  return step(done => connection.reset(done)).then(
    () => true,
    () => false,
  )
}

/**
 * nodemailer reads the replies to pipelined commands one per turn of the event loop, and forgets those that are left when
 * the connection closes: a 421 or 554 behind them would be lost. Its handler waits here until all have been read.
 */
function finishReplies(connection: SMTPConnection): void {
  const inside = connection as unknown as { _onClose(): void; readonly _responseQueue: readonly string[] }
  const close = inside._onClose.bind(connection)
  const closeBehind = (unread: number): void => {
    const { length } = inside._responseQueue
    if (length === 0 || length === unread) close()
    else setImmediate(closeBehind, length)
  }
  inside._onClose = () => closeBehind(Number.POSITIVE_INFINITY)
}

function newBooks(): Pick<SMTPConnectionEnvelope, 'rcptQueue' | 'accepted' | 'rejected' | 'rejectedErrors'> {
  return { rcptQueue: [], accepted: [], rejected: [], rejectedErrors: [] }
}

function refusals(envelope: SMTPConnectionEnvelope): Map<string, Event> {
  return new Map(envelope.rejectedErrors.map(error => [String(error.recipient), eventOf(error, 'rcpt')]))
}

/** The fields of nodemailer's errors that tell what happened. */
interface Failure extends Error {
  readonly code?: string
  readonly command?: string
  readonly response?: string
}

function eventOf(error: unknown, stage: Stage): Event {
  const { response } = error as Failure
  if (response) return { stage, ...parseReply(response) }
  const text = messageOf(error)
  const unfit = (error as Failure).code === 'EMESSAGE' && stage === 'local'
  return { stage, code: undefined, enhanced: undefined, text, ...(unfit ? { unfit } : {}) }
}

function openingStage(connection: SMTPConnection, error: unknown): Stage {
  const { code, command, response } = error as Failure
  if (code === 'ETLS' || command === 'STARTTLS' || connection.upgrading) return 'tls'
  return response || connection.stage === 'connected' ? 'greeting' : 'connect'
}

function sendingStage(error: unknown, envelope: SMTPConnectionEnvelope, progress: Progress): Stage {
  const { code, command, response } = error as Failure
  if (code === 'ESTREAM' || (code === 'EMESSAGE' && !response) || (code === 'EENVELOPE' && command === 'API'))
    return 'local'
  if (command === 'MAIL FROM') return 'mail'
  if (command === 'RCPT TO') return 'rcpt'
  if (command === 'DATA') return code === 'EENVELOPE' ? 'data' : 'dot'
  if (progress.at !== 'envelope') return progress.at
  return envelope.accepted.length + envelope.rejected.length > 0 ? 'rcpt' : 'mail'
}

function offers(connection: SMTPConnection, extension: string): boolean {
  return new RegExp(`^250[ -]${extension}\\b`, 'im').test(String(connection.lastServerResponse))
}

function protectionOf(connection: SMTPConnection): string {
  const socket = connection._socket
  return (socket instanceof TLSSocket && socket.getProtocol()) || 'plain'
}

function trustedCertificates(smtp: SmtpConfig): { ca?: string[] } {
  if (smtp.tlsCa === undefined) return {}
  try {
    return { ca: [...rootCertificates, readFileSync(smtp.tlsCa, 'utf8')] }
  } catch (error) {
    const text = `cannot read MAILDROP_TLS_CA ${smtp.tlsCa}: ${systemCode(error) ?? messageOf(error)}`
    throw new SessionError({ stage: 'tls', code: undefined, enhanced: undefined, text })
  }
}

/** Starts something of nodemailer's that calls back, and waits for its end or the connection's. */
type Step = (start: (done: (error?: Error | null) => void) => void) => Promise<void>

const settled: Step = start => new Promise((resolve, reject) => start(error => (error ? reject(error) : resolve())))
