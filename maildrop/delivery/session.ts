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
import { TLSSocket } from 'node:tls'
import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { SmtpConfig } from '../smtp-config.ts'
import type { Envelope } from '../spool/format.ts'
import { abilitiesOf } from './abilities.ts'
import { DEADLINES, type Deadlines } from './deadlines.ts'
import type { Dialogue } from './dialogue.ts'
import { openSigner } from './dkim.ts'
import { eventOf } from './failure.ts'
import { fitAsItIs, fit as fitted } from './fit.ts'
import { openingDialogue } from './opening.ts'
import type { Event } from './outcome.ts'
import type { Outgoing } from './outgoing.ts'
import { type Line, newParcel, type Parcel, type Report, unsendable } from './parcel.ts'
import type { Passwords } from './password.ts'
import { wireEnvelope } from './wire-envelope.ts'

export { SessionError } from './failure.ts'
export type { Parcel, Report }

export interface Session {
  /** False once the connection is closed, by either side. */
  readonly usable: boolean
  /** Resolves when it is closed. */
  readonly closed: Promise<void>
  /** Messages that were tried on this connection. */
  readonly count: number
  /** Whether an envelope can go with the message before it (RFC 2920). */
  readonly pipelining: boolean
  /** How the connection is protected, for people: `TLSv1.3` or `plain`. */
  readonly protection: string
  /** Sends one message; never throws. */
  send(envelope: Envelope, message: Outgoing): Promise<Report>
  /** Makes a message ready to be sent; never throws. */
  prepare(envelope: Envelope, message: Outgoing): Promise<Parcel>
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
  /** Is given the dialogue before it connects. */
  readonly watch?: ((dialogue: Dialogue) => void) | undefined
}

/**
 * Connects, negotiates TLS and logs in.
 * @throws {SessionError}
 */
export async function openSession(smtp: SmtpConfig, options: SessionOptions = {}): Promise<Session> {
  const { signal, deadlines = DEADLINES, passwords, watch } = options
  const signer = smtp.dkim && openSigner(smtp.dkim)
  const dialogue = await openingDialogue(smtp, { deadlines, signal, passwords, watch })
  const { connection } = dialogue
  const abilities = abilitiesOf(dialogue.extensions)
  let usable = true
  let count = 0
  const line: Line = {
    dialogue,
    deadlines,
    pipelining: abilities.pipelining,
    dsn: abilities.dsn,
    begins() {
      count += 1
    },
  }
  const closed = new Promise<void>(resolve => {
    connection.once('end', () => {
      usable = false
      resolve()
    })
  })

  /** As it is sent: fitting the server, and signed. */
  const fitting = async (
    message: Outgoing,
    asItIs: Outgoing | undefined,
  ): Promise<Outgoing | { readonly event: Event }> => {
    try {
      const fit = asItIs ?? (await fitted(message, abilities))
      return 'event' in fit || signer === undefined ? fit : await signer.sign(fit)
    } catch (error) {
      return { event: eventOf(error, 'local') }
    }
  }

  const prepare = async (wanted: Envelope, original: Outgoing): Promise<Parcel> => {
    const addresses = wireEnvelope(wanted, abilities)
    if ('event' in addresses) return unsendable({ refused: new Map(), end: addresses.event })
    const { names, refused } = addresses
    const [refusal] = refused.values()
    if (names.size === 0 && refusal !== undefined) return unsendable({ refused, end: refusal })
    const asItIs = fitAsItIs(original, abilities)
    const message = signer === undefined && asItIs !== undefined ? asItIs : await fitting(original, asItIs)
    return 'event' in message ? unsendable({ refused, end: message.event }) : newParcel(line, addresses, message)
  }

  return {
    get usable() {
      return usable
    },
    get count() {
      return count
    },
    closed,
    pipelining: abilities.pipelining,
    protection: protectionOf(connection),
    prepare,
    send: async (envelope, message) => await (await prepare(envelope, message)).send(),
    quit() {
      if (!usable) return
      // In the middle of a transaction it would be taken for a line of the message.
      if (dialogue.going > 0) return connection.close()
      connection.quit()
      setTimeout(() => connection.close(), 2000).unref()
    },
    abort: why => dialogue.end(why),
  }
}

function protectionOf(connection: SMTPConnection): string {
  const socket = connection._socket
  return (socket instanceof TLSSocket && socket.getProtocol()) || 'plain'
}
