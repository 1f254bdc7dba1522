/** From an error of nodemailer's or the system's to the event that it stands for. */
import { messageOf } from '../errors.ts'
import { type Event, parseReply, type Stage } from './outcome.ts'

/** The fields of nodemailer's errors that tell what happened. */
export interface Failure extends Error {
  readonly code?: string
  /** The system's code, where nodemailer has put its own in its place. */
  readonly originalCode?: string
  readonly command?: string
  readonly response?: string
}

/** The server could not be used; `event` says at which stage and why. */
export class SessionError extends Error {
  override readonly name = 'SessionError'
  readonly event: Event

  constructor(event: Event) {
    super(`${event.stage}: ${event.code ?? ''} ${event.text}`.replace('  ', ' '))
    this.event = event
  }
}

export function eventOf(error: unknown, stage: Stage): Event {
  const { response } = error as Failure
  if (response) return { stage, ...parseReply(response) }
  return noReply(stage, messageOf(error))
}

/** Something happened without a reply of the server. */
export function noReply(stage: Stage, text: string): Event {
  return { stage, code: undefined, enhanced: undefined, text }
}
