/**
 * What is changed inside nodemailer's SMTPConnection: when replies are read, and how a message is written that needs no stream.
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
  readonly _responseActions: ((reply: string) => void)[]
  readonly _responseQueue: readonly string[]
  readonly _responsePartial: boolean
}

export function openInside(connection: SMTPConnection): Inside {
  const insides = connection as unknown as Insides
  const inside = { writesItself: false }
  readAtOnce(insides)
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
