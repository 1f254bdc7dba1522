/**
 * `maildropctl configtest`: connects, negotiates TLS and logs in as configured, sends nothing, and explains what is wrong.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import type { Event } from '../delivery/outcome.ts'
import { openRelay } from '../delivery/relay.ts'
import { openSession, SessionError } from '../delivery/session.ts'
import { MaildropError } from '../errors.ts'
import { say } from './output.ts'

/** @throws {MaildropError} SMTP_UNUSABLE with what to change */
export async function configtest(config: MaildropConfig): Promise<void> {
  const { host, port, login } = config.smtp
  say(`config  ${config.file}: no errors`)
  if (config.capture !== undefined) return await testCapture(config, captureName(config.capture))
  try {
    const session = await openSession(config.smtp)
    say(
      `server  ${host}:${port} answers; connection: ${session.protection}; login: ${login ? `as ${login.user}` : 'none'}`,
    )
    if (login && session.protection === 'plain')
      say('        the password travels unencrypted; if the server offers STARTTLS, set MAILDROP_TLS to 2')
    session.quit()
    await session.closed
  } catch (cause) {
    if (!(cause instanceof SessionError)) throw cause
    const what = [cause.event.code, cause.event.enhanced, cause.event.text].filter(Boolean).join(' ')
    throw new MaildropError('SMTP_UNUSABLE', `${host}:${port}: ${what}; ${remedy(cause.event, config)}`, { cause })
  }
}

async function testCapture(config: MaildropConfig, name: string): Promise<void> {
  try {
    const session = await openRelay(config)
    session.quit()
  } catch (cause) {
    if (!(cause instanceof SessionError)) throw cause
    throw new MaildropError(
      'SMTP_UNUSABLE',
      `${cause.event.text}; correct MAILDROP_CAPTURE, or the directory's owner`,
      {
        cause,
      },
    )
  }
  say(`capture ${name} can be written; nothing is sent`)
}

function remedy({ stage, code }: Event, { smtp }: MaildropConfig): string {
  switch (stage) {
    case 'connect':
      return 'is the server running, and are SMTP_HOST and SMTP_PORT right?'
    case 'greeting':
      return code === undefined
        ? 'does an SMTP server (without implicit TLS) listen on SMTP_PORT?'
        : 'the server refuses this client; ask its administrator'
    case 'tls':
      return smtp.tls === 'required'
        ? 'MAILDROP_TLS="2" needs STARTTLS and a certificate that is valid for SMTP_HOST; MAILDROP_TLS_CA names further certificates to trust'
        : 'MAILDROP_TLS="0" does without encryption'
    case 'login':
      return code === undefined
        ? 'the server may offer AUTH only over TLS, see MAILDROP_TLS'
        : 'check MAILDROP_LOGIN and MAILDROP_PASSWORD'
    default:
      return 'see the answer of the server'
  }
}
