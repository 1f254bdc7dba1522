/**
 * What is changed inside nodemailer's SMTPConnection: when replies are read and what counts in them, and how a message is
 * written that needs no stream.
 */
import type SMTPConnection from 'nodemailer/lib/smtp-connection'

export interface Inside {
  /**
   * From the next message on, until it is said again: whether what is to be sent stuffs its dots itself, and writes to the
   * socket; its `pipe` is called without a stream then.
   */
  writesItself: boolean
}

interface Insides {
  _onSocketData(chunk: Buffer): void
  _processResponse(): void
  _createSendStream(callback: unknown): unknown
  _actionSMTPStream(reply: string, callback: unknown): void
  _actionDATA(reply: string, callback: (error: unknown, info?: unknown) => void): void
  _formatError(message: string, code: string, response: string, command: string): Error
  readonly _responseActions: ((reply: string) => void)[]
  readonly _responseQueue: string[]
  readonly _responsePartial: boolean
}

export function openInside(connection: SMTPConnection): Inside {
  const insides = connection as unknown as Insides
  const inside = { writesItself: false }
  lastLineCounts(insides)
  readAtOnce(insides)
  refuseOddData(insides)
  const usual = insides._createSendStream
  insides._createSendStream = callback => {
    if (!inside.writesItself) return usual.call(connection, callback)
    insides._responseActions.push(reply => insides._actionSMTPStream(reply, callback))
    return NO_STREAM
  }
  return inside
}

/** What nodemailer asks its stream when the message has been taken. */
const NO_STREAM = Object.freeze({ outByteCount: 0 })

/**
 * nodemailer reads one of the replies that have come per turn of the event loop, none while the last of them is incomplete,
 * and forgets those that are left when the connection closes: a 421 or 554 behind others would be lost. Here each is read
 * as soon as it is complete.
 */
function readAtOnce(insides: Insides): void {
  const complete = (): number => insides._responseQueue.length - (insides._responsePartial ? 1 : 0)
  const take = insides._onSocketData
  insides._onSocketData = chunk => {
    take(chunk)
    for (let left = complete(); left > 0; left = complete()) {
      insides._processResponse()
      if (complete() >= left) return
    }
  }
}

/** nodemailer looks at the first line of a reply; the code of the last one counts (RFC 5321 section 4.2.1). */
function lastLineCounts(insides: Insides): void {
  const usual = insides._processResponse
  insides._processResponse = () => {
    const [reply] = insides._responseQueue
    if (reply?.includes('\n')) insides._responseQueue[0] = asLastLine(reply)
    usual.call(insides)
  }
}

function asLastLine(reply: string): string {
  const [code] = /(?<=\n)\d{3}(?= |$)[^\n]*$/.exec(reply) ?? []
  return code === undefined || reply.startsWith(code.slice(0, 3)) ? reply : code.slice(0, 3) + reply.slice(3)
}

/**
 * nodemailer goes on after any 2xx to DATA. Only 354 says that what follows is a message (RFC 5321 section 4.3.2): to a server
 * whose replies are out of step it would be commands, and its acceptance would be taken for something else.
 */
function refuseOddData(insides: Insides): void {
  const usual = insides._actionDATA
  insides._actionDATA = (reply, callback) =>
    usual.call(insides, reply, (error, info) => {
      if (error || reply.startsWith('3')) callback(error, info)
      else callback(insides._formatError('Data command failed', 'EENVELOPE', reply, 'DATA'))
    })
}
