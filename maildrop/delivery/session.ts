/**
 * One connection to the SMTP server, ready to send.
 *
 * Built on nodemailer's SMTPConnection rather than on its pool, because what happened to a message must be known exactly:
 * the pool reports neither which recipients were refused before DATA failed, nor whether the final dot had left when the
 * connection broke. The protocol, pipelining, dot-stuffing, line endings and TLS are nodemailer's.
 *
 * Promises: every wait ends by a deadline; after an error that leaves the dialogue in doubt the session is closed and says
 * so (`usable`).
 */
import { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { TLSSocket } from 'node:tls'
import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { SMTPConnectionEnvelope } from 'nodemailer/lib/smtp-connection'
import type { SmtpConfig } from '../smtp-config.ts'
import type { Envelope } from '../spool/format.ts'
import { abilitiesOf } from './abilities.ts'
import { DEADLINES, type Deadlines } from './deadlines.ts'
import type { Dialogue } from './dialogue.ts'
import { openSigner } from './dkim.ts'
import { eventOf, type Failure } from './failure.ts'
import { fit } from './fit.ts'
import { openingDialogue } from './opening.ts'
import { type Event, parseReply, type Stage } from './outcome.ts'
import type { Outgoing, Progress } from './outgoing.ts'
import type { Passwords } from './password.ts'
import { wireEnvelope } from './wire-envelope.ts'

export { SessionError } from './failure.ts'

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

export interface SessionOptions {
  /** Ends the attempt to open; a session that is open stays so. */
  readonly signal?: AbortSignal | undefined
  readonly deadlines?: Deadlines
  /** Where the password comes from; to be kept from one session to the next. */
  readonly passwords?: Passwords | undefined
}

/**
 * Connects, negotiates TLS and logs in.
 * @throws {SessionError}
 */
export async function openSession(smtp: SmtpConfig, options: SessionOptions = {}): Promise<Session> {
  const { signal, deadlines = DEADLINES, passwords } = options
  const signer = smtp.dkim && openSigner(smtp.dkim)
  const dialogue = await openingDialogue(smtp, { deadlines, signal, passwords })
  const { connection } = dialogue
  const abilities = abilitiesOf(dialogue.extensions)
  let usable = true
  let count = 0
  const closed = new Promise<void>(resolve => {
    connection.once('end', () => {
      usable = false
      resolve()
    })
  })

  /** As it is sent: fitting the server, and signed. */
  const prepared = async (message: Outgoing): Promise<Outgoing | { readonly event: Event }> => {
    try {
      const fitting = await fit(message, abilities)
      return 'event' in fitting || signer === undefined ? fitting : await signer.sign(fitting)
    } catch (error) {
      return { event: eventOf(error, 'local') }
    }
  }

  return {
    get usable() {
      return usable
    },
    get count() {
      return count
    },
    closed,
    protection: protectionOf(connection),
    async send(wanted, original) {
      const addresses = wireEnvelope(wanted, abilities)
      if ('event' in addresses) return { refused: new Map(), end: addresses.event }
      const { names, refused } = addresses
      const [refusal] = refused.values()
      if (names.size === 0 && refusal !== undefined) return { refused, end: refusal }
      const message = await prepared(original)
      if ('event' in message) return { refused, end: message.event }
      count += 1
      // nodemailer keeps its books about the recipients in the envelope it is given, also when the message fails.
      const envelope: SMTPConnectionEnvelope = {
        from: addresses.from,
        to: [...names.keys()],
        size: message.size,
        use8BitMime: true,
        // Used where it is offered (RFC 3461): nobody wants to hear about the fate of a notification.
        dsn: { ret: 'HDRS', envid: message.id, ...(addresses.from === '' ? { notify: 'NEVER' } : {}) },
        ...newBooks(),
      }
      const transfer = newTransfer(dialogue, message.size)
      let end: Event
      try {
        const reply = await dialogue.step<string>('the envelope', deadlines.envelope, done =>
          connection.send(envelope, contentOf(message, transfer, connection), (error, info) =>
            done(error, info?.response),
          ),
        )
        end = { stage: 'dot', ...parseReply(reply) }
      } catch (error) {
        end = failed(error, dialogue, transfer.at)
        if (!(await recover(dialogue, end, transfer.at, deadlines))) connection.close()
      }
      // After a refused MAIL the replies to the RCPTs that were sent with it say nothing about the recipients.
      return { refused: end.stage === 'mail' ? refused : new Map([...refused, ...refusals(envelope, names)]), end }
    },
    quit() {
      if (!usable) return
      connection.quit()
      setTimeout(() => connection.close(), 2000).unref()
    },
    abort: why => dialogue.end(why),
  }
}

/** How far a message has come. */
type Place = 'envelope' | 'body' | 'dot'

function newTransfer(dialogue: Dialogue, size: number) {
  let at: Place = 'envelope'
  const begin = (): void => {
    if (at === 'envelope') dialogue.transfer(size)
  }
  return {
    get at() {
      return at
    },
    piece() {
      begin()
      at = 'body'
      dialogue.piece()
    },
    dot() {
      begin()
      at = 'dot'
      dialogue.dot()
    },
  }
}

/**
 * What nodemailer sends, with its dots stuffed: a stream, or for a small message something that stands in for one and gives all
 * at once, so that the message and the final dot are one packet.
 */
function contentOf(message: Outgoing, transfer: Progress, connection: SMTPConnection): Readable {
  const { small } = message
  if (small === undefined) return message.open(transfer)
  const content = Object.assign(new EventEmitter(), {
    pipe(stuffing: Writable) {
      try {
        small.ready(transfer)
      } catch (error) {
        content.emit('error', error)
        return
      }
      const socket = connection._socket
      if (!socket) return
      socket.cork()
      const uncork = (): void => {
        stuffing.off('end', uncork).off('pause', uncork)
        socket.uncork()
      }
      // It pauses when the socket has enough for now.
      stuffing.on('end', uncork).on('pause', uncork).end(small.bytes)
    },
    destroy() {},
  })
  return content as unknown as Readable
}

/** After a refusal the transaction is reset (RFC 5321 section 4.1.1.5); false if the connection is of no more use. */
async function recover({ connection, step }: Dialogue, end: Event, at: Place, deadlines: Deadlines): Promise<boolean> {
  if (connection.destroyed) return true
  const answered = end.code !== undefined && end.code >= 400 && end.code !== 421
  const clean = end.stage === 'dot' || at === 'envelope'
  if (!clean || (!answered && !end.unfit)) return false
  return step('RSET', deadlines.command, done => connection.reset(done)).then(
    () => true,
    () => false,
  )
}

function newBooks(): Pick<SMTPConnectionEnvelope, 'rcptQueue' | 'accepted' | 'rejected' | 'rejectedErrors'> {
  return { rcptQueue: [], accepted: [], rejected: [], rejectedErrors: [] }
}

function refusals(
  envelope: SMTPConnectionEnvelope,
  names: ReadonlyMap<string, readonly string[]>,
): (readonly [string, Event])[] {
  return envelope.rejectedErrors.flatMap(error => {
    const event = eventOf(error, 'rcpt')
    return (names.get(String(error.recipient)) ?? []).map(name => [name, event] as const)
  })
}

function failed(error: unknown, { unanswered }: Dialogue, at: Place): Event {
  const stage = sendingStage(error as Failure, unanswered[0], at)
  const event = eventOf(error, stage)
  return (error as Failure).code === 'EMESSAGE' && stage === 'local' ? { ...event, unfit: true } : event
}

function sendingStage({ code, command, response }: Failure, unanswered: string | undefined, at: Place): Stage {
  if (code === 'ESTREAM' || (code === 'EMESSAGE' && !response) || (code === 'EENVELOPE' && command === 'API'))
    return 'local'
  if (command === 'MAIL FROM') return 'mail'
  if (command === 'RCPT TO') return 'rcpt'
  if (command === 'DATA') return code === 'EENVELOPE' ? 'data' : 'dot'
  if (at !== 'envelope') return at
  if (unanswered === 'RCPT') return 'rcpt'
  return unanswered === 'DATA' ? 'data' : 'mail'
}

function protectionOf(connection: SMTPConnection): string {
  const socket = connection._socket
  return (socket instanceof TLSSocket && socket.getProtocol()) || 'plain'
}
