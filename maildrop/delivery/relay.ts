/**
 * Where the mail goes: to the SMTP server, or into a mailbox instead. The daemon knows only sessions.
 */
import { openCapture } from '../capture/session.ts'
import type { MaildropConfig } from '../config.ts'
import type { Dialogue, Silence } from './dialogue.ts'
import { openPasswords } from './password.ts'
import { openSession, type Session } from './session.ts'

/** What the relay is called in the log and by the commands. */
export function relayName({ smtp, capture }: MaildropConfig): string {
  return capture === undefined ? `${smtp.host}:${smtp.port}` : 'capture'
}

/** Opens sessions, ready to send; what is known of the password is kept between them. */
export interface Relay {
  /**
   * @param signal ends the attempt; a session that is open stays so
   * @throws {SessionError}
   */
  open(signal?: AbortSignal): Promise<Session>
  /** What the server has owed for the longest time, over all connections; undefined if nothing. */
  readonly silence: Silence | undefined
}

export function openRelay({ smtp, capture }: MaildropConfig): Relay {
  if (capture !== undefined) return { open: () => openCapture(capture), silence: undefined }
  const passwords = smtp.login && openPasswords(smtp.login.password)
  const dialogues = new Set<Dialogue>()
  const watch = (dialogue: Dialogue): void => {
    dialogues.add(dialogue)
    dialogue.connection.once('end', () => dialogues.delete(dialogue))
  }
  return {
    open: signal => openSession(smtp, { signal, passwords, watch }),
    get silence() {
      let longest: Silence | undefined
      for (const { silence } of dialogues)
        if (silence !== undefined && silence.since < (longest?.since ?? Number.POSITIVE_INFINITY)) longest = silence
      return longest
    },
  }
}
