/**
 * `maildropctl configtest`: connects, negotiates TLS and logs in as configured, sends nothing, and explains what is wrong.
 */
import { captureName } from '../capture/mailbox.ts'
import type { MaildropConfig } from '../config.ts'
import { openSigner } from '../delivery/dkim.ts'
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
    if (config.smtp.dkim !== undefined) {
      const { name, text } = openSigner(config.smtp.dkim).record
      say(`dkim    messages are signed; to be published in the DNS: ${name} TXT "${text}"`)
    }
  } catch (cause) {
    if (!(cause instanceof SessionError)) throw cause
    const what = [cause.event.code, cause.event.enhanced, cause.event.text].filter(Boolean).join(' ')
    throw new MaildropError('SMTP_UNUSABLE', `${host}:${port}: ${what}; ${remedy(cause.event, config)}`, { cause })
  }
}

async function testCapture(config: MaildropConfig, name: string): Promise<void> {
  try {
    const session = await openRelay(config).open()
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
        ? smtp.tls === 'implicit'
          ? 'does an SMTP server listen on SMTP_PORT?'
          : 'does an SMTP server listen on SMTP_PORT? If it begins with TLS (port 465), set MAILDROP_TLS="implicit"'
        : 'the server refuses this client; ask its administrator'
    case 'tls':
      return tlsRemedy(smtp.tls)
    case 'login':
      return code === undefined
        ? 'see MAILDROP_AUTH, and MAILDROP_TLS: many servers offer AUTH only over TLS'
        : `check MAILDROP_LOGIN and ${PASSWORD_KEYS[smtp.login?.password.from ?? 'value']}`
    case 'local':
      return 'an RSA key is made by: openssl genrsa -out FILE 2048'
    default:
      return 'see the answer of the server'
  }
}

function tlsRemedy(tls: MaildropConfig['smtp']['tls']): string {
  const trust = 'MAILDROP_TLS_CA names further certificates to trust'
  switch (tls) {
    case 'implicit':
      return `MAILDROP_TLS="implicit" needs a server that begins with TLS, and a certificate that is valid for SMTP_HOST; ${trust}`
    case 'required':
      return `MAILDROP_TLS="2" needs STARTTLS and a certificate that is valid for SMTP_HOST; ${trust}`
    default:
      return 'MAILDROP_TLS="0" does without encryption'
  }
}

const PASSWORD_KEYS = {
  value: 'MAILDROP_PASSWORD',
  file: 'MAILDROP_PASSWORD_FILE',
  command: 'MAILDROP_PASSWORD_COMMAND',
} as const
