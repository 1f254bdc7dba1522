/**
 * `configtest`: connects to a server, negotiates TLS and logs in as configured, and sends nothing. What goes wrong is
 * explained, if need be by another look at the port: many a trouble is plain text on a port of TLS, or the reverse.
 */
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { captureName } from '../capture/mailbox.ts'
import { openCapture } from '../capture/session.ts'
import type { MaildropConfig } from '../config.ts'
import { DEADLINES } from '../delivery/deadlines.ts'
import { openSigner } from '../delivery/dkim.ts'
import type { Event } from '../delivery/outcome.ts'
import { openSession, type Session, SessionError } from '../delivery/session.ts'
import type { SmtpConfig } from '../smtp-config.ts'
import { bad, type Check, good } from './check.ts'

/** Somebody waits for the answer. */
const PATIENT = { ...DEADLINES, connect: 15_000, greeting: 30_000, command: 30_000, opening: 60_000 }
/** Milliseconds until a server is silent, and for another look at the port. */
const SILENCE = 2000
const LOOK = 10_000

export async function checkServer({ smtp, capture }: MaildropConfig): Promise<Check> {
  if (capture !== undefined) {
    const name = captureName(capture)
    const event = await tryOpening(() => openCapture(capture))
    if (!(typeof event === 'object')) return good('capture', name, 'can be written; nothing is sent')
    return bad('capture', name, event.text, "correct MAILDROP_CAPTURE, or the directory's owner")
  }
  const where = `${smtp.host}:${smtp.port}`
  const found = await tryOpening(() => openWatched(smtp))
  if (typeof found === 'object') {
    const text = [found.code, found.enhanced, found.text].filter(Boolean).join(' ')
    return bad('server', where, text, await remedy(found, smtp))
  }
  const { login } = smtp
  const text = `answers; connection: ${found}; login: ${login ? `as ${login.user}` : 'none'}`
  return good('server', where, text, login && found === 'plain' ? PLAIN : undefined)
}

/** A server that is silent because it waits for a handshake of TLS is found out long before it is given up. */
async function openWatched(smtp: SmtpConfig): Promise<Session> {
  const waiting = new AbortController()
  const timer = setTimeout(async () => {
    if (smtp.tls !== 'implicit' && (await speaksTls(smtp))) waiting.abort(new Error('the server says nothing'))
  }, SILENCE)
  try {
    return await openSession(smtp, { deadlines: PATIENT, signal: waiting.signal })
  } finally {
    clearTimeout(timer)
  }
}

const PLAIN = 'the password travels unencrypted; if the server offers STARTTLS, set MAILDROP_TLS to 2'

/** What has to be published; that the key cannot be used has been found by opening a session. */
export function checkSigning(dkim: NonNullable<SmtpConfig['dkim']>): Check[] {
  try {
    const { name, text } = openSigner(dkim).record
    return [good('dkim', name, `TXT "${text}" has to be published in the DNS; messages are signed`)]
  } catch (error) {
    if (error instanceof SessionError) return []
    throw error
  }
}

/** @returns how the connection is protected, or what went wrong */
async function tryOpening(open: () => Promise<Session>): Promise<string | Event> {
  try {
    const session = await open()
    session.quit()
    await session.closed
    return session.protection
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    return error.event
  }
}

async function remedy(event: Event, smtp: SmtpConfig): Promise<string> {
  switch (event.stage) {
    case 'connect':
      return smtp.tls !== 'implicit' && isSilent(event) && (await speaksTls(smtp)) ? TLS_AT_ONCE : connectRemedy(event)
    case 'greeting':
      if (event.code !== undefined) return 'the server refuses this client; ask its administrator'
      if (smtp.tls !== 'implicit' && (await speaksTls(smtp))) return TLS_AT_ONCE
      return 'does an SMTP server listen on SMTP_PORT? Mail is usually handed over on port 587, or 465 with MAILDROP_TLS="implicit"'
    case 'tls':
      return smtp.tls === 'implicit' && (await greets(smtp)) ? PLAIN_AT_FIRST : tlsRemedy(event, smtp)
    case 'login':
      return loginRemedy(event, smtp)
    case 'local':
      return 'an RSA key is made by: openssl genrsa -out FILE 2048'
    default:
      return 'see the answer of the server'
  }
}

const TLS_AT_ONCE = 'the server begins with TLS on this port: set MAILDROP_TLS="implicit"'
const PLAIN_AT_FIRST =
  'the server begins in plain text on this port: set MAILDROP_TLS="2" for STARTTLS, or SMTP_PORT to its port of TLS (465)'

function isSilent({ code, text }: Event): boolean {
  return code === undefined && !/E(CONNREFUSED|NOTFOUND|AI_AGAIN|HOSTUNREACH|NETUNREACH)/.test(text)
}

function connectRemedy({ text }: Event): string {
  if (/ENOTFOUND|ENODATA/.test(text)) return 'no such name: is SMTP_HOST right?'
  if (/EAI_AGAIN|ESERVFAIL|EREFUSED/.test(text)) return 'names cannot be looked up: is DNS of this machine working?'
  if (/ECONNREFUSED/.test(text)) return 'is the server running, and are SMTP_HOST and SMTP_PORT right?'
  if (/EHOSTUNREACH|ENETUNREACH/.test(text))
    return 'there is no way to that address: look at the network of this machine'
  return 'is the server running, and are SMTP_HOST and SMTP_PORT right? A firewall may be in between; many networks block port 25, and take mail on 587'
}

function tlsRemedy({ text }: Event, { tls, host, port }: SmtpConfig): string {
  if (text.includes('MAILDROP_TLS_CA')) return 'correct MAILDROP_TLS_CA, which has to be a PEM file that can be read'
  if (text.includes('certificate is not for')) return 'set SMTP_HOST to a name that is in the certificate'
  if (text.includes('certificate has expired'))
    return "the server's certificate has to be renewed; until then mail waits"
  if (text.includes('not valid yet')) return 'is the clock of this machine right?'
  if (/self-signed|issuer that is not trusted/.test(text)) {
    const start = tls === 'implicit' ? '' : '-starttls smtp '
    return `if it is the right server, put its certificate (or its issuer's) into a file, and the file into MAILDROP_TLS_CA; openssl s_client ${start}-showcerts -connect ${host}:${port} prints it`
  }
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

function loginRemedy({ code, text }: Event, { login }: SmtpConfig): string {
  const source = PASSWORD_KEYS[login?.password.from ?? 'value']
  if (code === undefined && text.includes(source))
    return `correct ${source}, or what it names: the server was not asked yet`
  if (code === undefined) return 'see MAILDROP_AUTH, and MAILDROP_TLS: many servers offer AUTH only over TLS'
  if (code === 530 || code === 538) return 'the server wants TLS first: set MAILDROP_TLS to 2'
  if (code < 500) return 'the server cannot check the login at the moment; try again later'
  return `check MAILDROP_LOGIN and ${source}`
}

/** Whether something on the port does a handshake of TLS at once. */
function speaksTls({ host, port }: SmtpConfig): Promise<boolean> {
  return new Promise(resolve => {
    // Only whether it does is asked; nothing is said over this connection.
    const socket = connectTls({ host, port, rejectUnauthorized: false, timeout: LOOK })
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('secureConnect', () => end(true))
    socket.once('error', () => end(false))
    socket.once('timeout', () => end(false))
  })
}

/** Whether something on the port says hello in plain text. */
function greets({ host, port }: SmtpConfig): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: LOOK })
    const end = (answer: boolean): void => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('data', data => end(/^220[ -]/.test(data.toString('latin1'))))
    socket.once('error', () => end(false))
    socket.once('close', () => end(false))
    socket.once('timeout', () => end(false))
  })
}
