/**
 * One message's transaction on a connection: the envelope, the message, what the server said.
 *
 *     begin   MAIL, RCPT and DATA go out                        (by itself, or in one packet with the message before it)
 *     send    the message and its final dot go out, once DATA has been answered and somebody wants it sent
 *
 * An envelope may go behind the final dot of the message before it: "the actual transfer of message content is explicitly
 * allowed to be the first command in a group" (RFC 2920 section 3.1). The server has begun both transactions then, but no byte
 * of the second message leaves before `send`, so that it can still be sent over another connection.
 */
import { EventEmitter } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import type SMTPConnection from 'nodemailer/lib/smtp-connection'
import type { SMTPConnectionEnvelope } from 'nodemailer/lib/smtp-connection'
import { messageOf } from '../errors.ts'
import type { Deadlines } from './deadlines.ts'
import { type Dialogue, MESSAGE } from './dialogue.ts'
import { eventOf, type Failure, noReply } from './failure.ts'
import { type Event, parseReply, type Stage } from './outcome.ts'
import type { Outgoing, Progress } from './outgoing.ts'
import type { WireEnvelope } from './wire-envelope.ts'

/** What became of a message's transaction. */
export interface Report {
  /** Recipients refused at RCPT, each with the reply. */
  readonly refused: ReadonlyMap<string, Event>
  /** What happened to the message for all others. */
  readonly end: Event
}

/** A message that is ready to be sent over one connection, once. */
export interface Parcel {
  /** True once its envelope is on its way. */
  readonly begun: boolean
  /**
   * Sends it; never throws.
   * @param following is asked when the message goes out: the parcel whose envelope goes along
   */
  send(following?: () => Parcel | undefined): Promise<Report>
  /** Sends the envelope behind a message that is just being written. */
  begin(): void
}

/** A parcel that is not sent, because of `end`. */
export function unsendable(report: Report): Parcel {
  return { begun: false, send: async () => report, begin: () => undefined }
}

export interface Line {
  readonly dialogue: Dialogue
  readonly deadlines: Deadlines
  /** True if the server takes an envelope behind a message. */
  readonly pipelining: boolean
  /** True if the server takes what RFC 3461 adds to an envelope. */
  readonly dsn: boolean
  /** To be called when a transaction begins. */
  begins(): void
}

/** @param message as it is sent, fitting what the server can take */
export function newParcel(line: Line, { from, names, refused }: WireEnvelope, message: Outgoing): Parcel {
  const { dialogue, deadlines } = line
  const { connection } = dialogue
  // nodemailer keeps its books about the recipients in the envelope it is given, also when the message fails.
  const envelope: SMTPConnectionEnvelope = {
    from,
    to: [...names.keys()],
    size: message.size,
    use8BitMime: true,
    rcptQueue: [],
    accepted: [],
    rejected: [],
    rejectedErrors: [],
  }
  // Nobody wants to hear about the fate of a notification.
  if (line.dsn) envelope.dsn = { ret: 'HDRS', envid: message.id, ...(from === '' ? { notify: 'NEVER' } : {}) }
  const transfer = newTransfer(dialogue, message.size)
  let following: (() => Parcel | undefined) | undefined
  const content = newContent(message, transfer, connection, () => {
    // Only behind a message that ends with this transaction: one that some have been refused may need another one at once.
    if (line.pipelining && envelope.rejectedErrors.length === 0) following?.()?.begin()
  })
  let reply: Promise<string> | undefined
  let isBehind = false
  let isEarly = false

  const begin = (): void => {
    parcel.begun = true
    line.begins()
    dialogue.inside.writesItself = message.small?.wireReady === true
    reply = dialogue.step<string>('the envelope', deadlines.envelope, done =>
      connection.send(envelope, content.stream, (error, info) => {
        isEarly = transfer.at !== 'dot'
        done(error, info?.response)
      }),
    )
  }

  // No object here has an accessor: V8 gives each of those a shape of its own, and all code that meets them slows down.
  const parcel = {
    begun: false,
    begin() {
      isBehind = true
      dialogue.behind()
      begin()
      // It is looked at when somebody wants the message sent.
      reply?.catch(() => undefined)
    },
    async send(next?: () => Parcel | undefined): Promise<Report> {
      following = next
      if (reply === undefined) begin()
      content.release()
      let end: Event
      try {
        end = { stage: 'dot', ...parseReply((await reply) ?? '') }
        // A yes to what has not been sent yet: the replies are out of step.
        if (isEarly) {
          end = { ...end, stage: 'body' }
          connection.close()
        }
      } catch (error) {
        if (isBehind && transfer.at === 'envelope' && isUnheard(dialogue))
          return { refused: new Map(), end: noReply('mail', messageOf(error)) }
        end = failed(error, dialogue, transfer.at)
        if (!(await recover(dialogue, end, transfer.at, deadlines))) connection.close()
      }
      // After a refused MAIL the replies to the RCPTs that were sent with it say nothing about the recipients.
      return { refused: end.stage === 'mail' ? refused : allRefused(refused, envelope, names), end }
    },
  }
  return parcel
}

/**
 * True if the connection ended before the envelope that went behind another message was answered, or because it was not:
 * nothing was said about the message.
 */
function isUnheard({ connection, unanswered, unheard }: Dialogue): boolean {
  return unheard || (connection.destroyed && (unanswered[0] === 'MAIL' || unanswered[0] === MESSAGE))
}

/** How far a message has come. */
type Place = 'envelope' | 'body' | 'dot'

function newTransfer(dialogue: Dialogue, size: number): Progress & { readonly at: Place } {
  const transfer = {
    at: 'envelope' as Place,
    piece() {
      if (transfer.at === 'envelope') dialogue.transfer(size)
      transfer.at = 'body'
      dialogue.piece()
    },
    dot() {
      if (transfer.at === 'envelope') dialogue.transfer(size)
      transfer.at = 'dot'
      dialogue.dot()
    },
  }
  return transfer
}

const DOT = Buffer.from('.\r\n')

interface Content {
  /** For nodemailer, which pipes it into the stream that stuffs its dots once DATA has been answered. */
  readonly stream: Readable
  /** The message may go. */
  release(): void
}

/**
 * What stands in for the message until it may go. A small one is given all at once, so that the message and the final dot
 * are one packet; if no dot is to be stuffed, without a stream and with what `along` sends.
 */
function newContent(message: Outgoing, transfer: Progress, connection: SMTPConnection, along: () => void): Content {
  const { small } = message
  let stuffing: Writable | undefined
  let isWanted = false
  let isReleased = false
  let source: Readable | undefined

  const go = (): void => {
    const socket = connection._socket
    if (small === undefined) {
      source = message.open(transfer)
      source.on('error', error => content.emit('error', error))
      source.pipe(stuffing!)
      stuffing?.once('end', along)
      return
    }
    if (!socket) return
    try {
      small.ready(transfer)
    } catch (error) {
      content.emit('error', error)
      return
    }
    socket.cork()
    if (small.wireReady) {
      socket.write(small.bytes)
      socket.write(DOT)
      along()
      socket.uncork()
      return
    }
    let isCorked = true
    const uncork = (): void => {
      if (isCorked) socket.uncork()
      isCorked = false
    }
    // It pauses when the socket has enough for now.
    stuffing?.once('pause', uncork).once('end', () => {
      along()
      uncork()
    })
    stuffing?.end(small.bytes)
  }

  const content = Object.assign(new EventEmitter(), {
    pipe(into: Writable) {
      stuffing = into
      isWanted = true
      if (isReleased) go()
    },
    destroy() {
      source?.destroy()
    },
  })
  return {
    stream: content as unknown as Readable,
    release() {
      isReleased = true
      if (isWanted) go()
    },
  }
}

/** After a refusal the transaction is reset (RFC 5321 section 4.1.1.5); false if the connection is of no more use. */
async function recover(dialogue: Dialogue, end: Event, at: Place, deadlines: Deadlines): Promise<boolean> {
  const { connection, step } = dialogue
  if (connection.destroyed) return true
  const answered = end.code !== undefined && end.code >= 400 && end.code !== 421
  const clean = end.stage === 'dot' || at === 'envelope'
  if (!clean || (!answered && !end.unfit)) return false
  // The next transaction has begun, so this one has ended.
  if (dialogue.going > 0) return true
  return step('RSET', deadlines.command, done => connection.reset(done)).then(
    () => true,
    () => false,
  )
}

function allRefused(
  refused: ReadonlyMap<string, Event>,
  { rejectedErrors }: SMTPConnectionEnvelope,
  names: ReadonlyMap<string, readonly string[]>,
): ReadonlyMap<string, Event> {
  if (rejectedErrors.length === 0) return refused
  const all = new Map(refused)
  for (const error of rejectedErrors) {
    const event = eventOf(error, 'rcpt')
    for (const name of names.get(String(error.recipient)) ?? []) all.set(name, event)
  }
  return all
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
