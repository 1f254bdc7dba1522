/**
 * Opens a connection to the SMTP server: connected, encrypted and logged in as configured, or not at all.
 *
 * Promises: a login that is configured is never skipped; where TLS is required nothing, and no password, is sent in the
 * clear or to a server that cannot show a valid certificate.
 */
import type { SmtpConfig } from '../smtp-config.ts'
import type { Deadlines } from './deadlines.ts'
import { type Dialogue, HANDSHAKE, openDialogue } from './dialogue.ts'
import { eventOf, type Failure, noReply, SessionError } from './failure.ts'
import { login } from './login.ts'
import type { Event, Stage } from './outcome.ts'
import { openPasswords, type Passwords } from './password.ts'
import { tlsOptions, tlsProblem } from './tls.ts'

export interface OpeningOptions {
  readonly deadlines: Deadlines
  /** Ends the attempt; a dialogue that is open stays so. */
  readonly signal: AbortSignal | undefined
  /** Where the password comes from; to be kept from one connection to the next. */
  readonly passwords: Passwords | undefined
  /** Is given the dialogue before it connects. */
  readonly watch?: ((dialogue: Dialogue) => void) | undefined
}

/** @throws {SessionError} */
export async function openingDialogue(
  smtp: SmtpConfig,
  { deadlines, signal, passwords, watch }: OpeningOptions,
): Promise<Dialogue> {
  const dialogue = openDialogue({ host: smtp.host, port: smtp.port, ...tlsOptions(smtp) }, deadlines)
  const { connection } = dialogue
  watch?.(dialogue)
  const cancel = (): void => dialogue.end(signal?.reason)
  const until = performance.now() + deadlines.opening
  let isConnected = false
  try {
    signal?.throwIfAborted()
    signal?.addEventListener('abort', cancel)
    await dialogue.step('connecting', deadlines.opening, done => connection.connect(done))
    isConnected = true
    if (smtp.login) {
      const source = passwords ?? openPasswords(smtp.login.password)
      await login(dialogue, smtp.login, source, until - performance.now())
    }
    return dialogue
  } catch (error) {
    const event = isConnected ? eventOf(error, 'login') : openingEvent(error, dialogue, smtp)
    connection.close()
    throw new SessionError(event)
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

function openingEvent(error: unknown, dialogue: Dialogue, { host }: SmtpConfig): Event {
  const problem = tlsProblem(error, host)
  if (problem !== undefined) return noReply('tls', problem)
  const event = eventOf(error, openingStage(dialogue, error))
  if ((error as Failure).command !== 'STARTTLS') return event
  const what = /^250[ -]STARTTLS\b/im.test(dialogue.extensions)
    ? 'the server offers STARTTLS, but does not do it'
    : 'the server does not offer STARTTLS, which MAILDROP_TLS requires'
  return { ...event, text: `${what}: ${event.text}` }
}

function openingStage({ connection, unanswered }: Dialogue, error: unknown): Stage {
  const { code, command, response } = error as Failure
  if (code === 'ETLS' || command === 'STARTTLS' || unanswered[0] === 'STARTTLS' || unanswered[0] === HANDSHAKE)
    return 'tls'
  return response || connection.stage === 'connected' ? 'greeting' : 'connect'
}
