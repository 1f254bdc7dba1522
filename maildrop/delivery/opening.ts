/**
 * Opens a connection to the SMTP server: connected, encrypted and logged in as configured, or not at all.
 *
 * Promises: a login that is configured is never skipped, and with TLS required never sent in the clear.
 */
import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import type { SmtpConfig } from '../config.ts'
import { messageOf, systemCode } from '../errors.ts'
import type { Deadlines } from './deadlines.ts'
import { type Dialogue, HANDSHAKE, openDialogue } from './dialogue.ts'
import { eventOf, type Failure, noReply, SessionError } from './failure.ts'
import type { Stage } from './outcome.ts'

/**
 * @param signal ends the attempt; a dialogue that is open stays so
 * @throws {SessionError}
 */
export async function openingDialogue(
  smtp: SmtpConfig,
  deadlines: Deadlines,
  signal: AbortSignal | undefined,
): Promise<Dialogue> {
  const dialogue = openDialogue(
    {
      host: smtp.host,
      port: smtp.port,
      secure: false,
      ignoreTLS: smtp.tls === 'never',
      opportunisticTLS: smtp.tls === 'offered',
      requireTLS: smtp.tls === 'required',
      tls: { rejectUnauthorized: smtp.tls === 'required', ...trustedCertificates(smtp) },
    },
    deadlines,
  )
  const { connection } = dialogue
  const cancel = (): void => dialogue.end(signal?.reason)
  let stage: Stage | undefined
  const until = performance.now() + deadlines.opening
  try {
    signal?.throwIfAborted()
    signal?.addEventListener('abort', cancel)
    await dialogue.step('connecting', deadlines.opening, done => connection.connect(done))
    stage = 'login'
    if (smtp.login) await login(dialogue, smtp.login, until - performance.now())
    return dialogue
  } catch (error) {
    const event = eventOf(error, stage ?? openingStage(dialogue, error))
    connection.close()
    throw new SessionError(event)
  } finally {
    signal?.removeEventListener('abort', cancel)
  }
}

async function login(dialogue: Dialogue, as: NonNullable<SmtpConfig['login']>, limit: number): Promise<void> {
  const { connection } = dialogue
  if (!connection.allowsAuth) throw new Error('the server offers no login (AUTH), but MAILDROP_LOGIN is set')
  await dialogue.step('logging in', limit, done => connection.login({ user: as.user, pass: as.password }, done))
}

function openingStage({ connection, unanswered }: Dialogue, error: unknown): Stage {
  const { code, command, response } = error as Failure
  if (code === 'ETLS' || command === 'STARTTLS' || unanswered[0] === 'STARTTLS' || unanswered[0] === HANDSHAKE)
    return 'tls'
  return response || connection.stage === 'connected' ? 'greeting' : 'connect'
}

function trustedCertificates(smtp: SmtpConfig): { ca?: string[] } {
  if (smtp.tlsCa === undefined) return {}
  try {
    return { ca: [...rootCertificates, readFileSync(smtp.tlsCa, 'utf8')] }
  } catch (error) {
    const text = `cannot read MAILDROP_TLS_CA ${smtp.tlsCa}: ${systemCode(error) ?? messageOf(error)}`
    throw new SessionError(noReply('tls', text))
  }
}
