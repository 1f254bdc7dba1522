/**
 * Where the mail goes: to the SMTP server, or into a mailbox instead. The daemon knows only sessions.
 */
import { openCapture } from '../capture/session.ts'
import type { MaildropConfig } from '../config.ts'
import { openSession, type Session } from './session.ts'

/** What the relay is called in the log and by the commands. */
export function relayName({ smtp, capture }: MaildropConfig): string {
  return capture === undefined ? `${smtp.host}:${smtp.port}` : 'capture'
}

/**
 * Opens a session, ready to send.
 * @param signal ends the attempt; a session that is open stays so
 * @throws {SessionError}
 */
export function openRelay({ smtp, capture }: MaildropConfig, signal?: AbortSignal): Promise<Session> {
  return capture === undefined ? openSession(smtp, { signal }) : openCapture(capture)
}
