/**
 * Capturing: the mail goes into a mailbox instead of to a server, for development and staging. To the daemon it is a session
 * like any other, with replies like those of a server: 250 for what has been kept, 421 when the mailbox cannot be written.
 */
import { createHash } from 'node:crypto'
import type { Event } from '../delivery/outcome.ts'
import type { Outgoing } from '../delivery/outgoing.ts'
import { type Report, type Session, SessionError } from '../delivery/session.ts'
import { messageOf } from '../errors.ts'
import type { Envelope } from '../spool/format.ts'
import { type CaptureTarget, captureName, type Kept, type Mailbox } from './mailbox.ts'
import { maildir } from './maildir.ts'
import { mbox } from './mbox.ts'

/**
 * Opens a mailbox.
 * @throws {SessionError} if it cannot be written
 */
export async function openCapture(target: CaptureTarget): Promise<Session> {
  const name = captureName(target)
  const mailbox = { maildir, mbox }[target.format](target)
  try {
    await mailbox.prepare()
  } catch (error) {
    const text = `cannot write ${name}: ${messageOf(error)}`
    throw new SessionError({ stage: 'connect', code: undefined, enhanced: undefined, text })
  }
  return sessionOver(mailbox, name)
}

function sessionOver(mailbox: Mailbox, name: string): Session {
  let usable = true
  let count = 0
  let abort: (why: string) => void = () => undefined
  let close = (): void => undefined
  const closed = new Promise<void>(resolve => {
    close = () => {
      usable = false
      resolve()
    }
  })

  const keep = async (envelope: Envelope, message: Outgoing): Promise<Event> => {
    let broken: Event | undefined
    const mail: Kept = {
      key: keyOf(message.id, envelope),
      repeated: message.repeated,
      envelope,
      trace: traceOf(envelope),
      open() {
        const stream = message.open()
        abort = why => {
          broken = event('body', undefined, why)
          stream.destroy(new Error(why))
        }
        stream.once('error', error => {
          // A reader that stops, because the mailbox cannot be written, aborts the stream.
          if (error.name !== 'AbortError') broken ??= event('local', undefined, messageOf(error))
        })
        return stream
      },
    }
    try {
      return event('dot', 250, `kept: ${await mailbox.keep(mail)}`)
    } catch (error) {
      close()
      return broken ?? event('dot', 421, `cannot write ${name}: ${messageOf(error)}`)
    } finally {
      abort = () => undefined
    }
  }

  const send = async (envelope: Envelope, message: Outgoing): Promise<Report> => {
    count += 1
    return { refused: new Map(), end: await keep(envelope, message) }
  }

  return {
    get usable() {
      return usable
    },
    get count() {
      return count
    },
    closed,
    pipelining: false,
    protection: name,
    prepare: async (envelope, message) => ({
      begun: false,
      begin: () => undefined,
      send: () => send(envelope, message),
    }),
    send,
    quit: close,
    abort(why) {
      abort(why)
      close()
    },
  }
}

function event(stage: Event['stage'], code: number | undefined, text: string): Event {
  return { stage, code, enhanced: code === 250 ? '2.0.0' : undefined, text }
}

/** A message goes to the same recipients twice only if nobody knows that they have it. */
function keyOf(id: string, { to }: Envelope): string {
  return `${id}.${createHash('sha256').update(to.join('\n')).digest('hex').slice(0, 8)}`
}

/** The envelope as header fields; addresses hold nothing that could end one. */
function traceOf({ from, to }: Envelope): string {
  return `Return-Path: <${from}>\nX-Envelope-To: ${to.map(address => `<${address}>`).join(',\n ')}\n`
}
