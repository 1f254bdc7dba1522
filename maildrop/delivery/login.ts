/**
 * Logging in (RFC 4954), by a mechanism that the server offers and the configuration allows, or not at all: nothing is
 * sent without a login that is configured.
 */
import { TLSSocket } from 'node:tls'
import type { SMTPConnectionAuth } from 'nodemailer/lib/smtp-connection'
import XOAuth2 from 'nodemailer/lib/xoauth2'
import { MIN_PASSWORD, type SmtpLogin } from '../smtp-config.ts'
import type { Dialogue } from './dialogue.ts'
import type { Failure } from './failure.ts'
import type { Passwords } from './password.ts'

/**
 * @param limit milliseconds for each attempt
 * @throws an error whose text and reply are free of the password
 */
export async function login(dialogue: Dialogue, as: SmtpLogin, passwords: Passwords, limit: number): Promise<void> {
  const { connection } = dialogue
  const method = mechanismFor(as, dialogue)
  for (let attempts = 1; ; attempts++) {
    const { password, kept } = await passwords.get()
    try {
      const auth = authFor(as.user, password, method, () => connection.lastServerResponse || '')
      await dialogue.step<boolean>('logging in', limit, done => connection.login(auth, done))
      return
    } catch (error) {
      const isRefused = isRefusal(error)
      if (isRefused) passwords.refused(password)
      // What was asked for earlier may have expired.
      if (!isRefused || !kept || attempts > 1 || connection.destroyed) throw withoutPassword(error, as.user, password)
    }
  }
}

function mechanismFor({ mechanism }: SmtpLogin, { connection, extensions }: Dialogue): string {
  const offered = offeredMechanisms(extensions)
  // nodemailer forgets AUTH when STARTTLS was offered and then refused.
  if (offered.length === 0 || !connection.allowsAuth)
    throw new Error('the server offers no login (AUTH), but MAILDROP_LOGIN is set')
  const isEncrypted = connection._socket instanceof TLSSocket
  // In the clear, one that does not show the password is better than none.
  const auto = isEncrypted ? ['PLAIN', 'LOGIN', 'CRAM-MD5'] : ['CRAM-MD5', 'PLAIN', 'LOGIN']
  const wanted = mechanism === 'auto' ? auto : [mechanism.toUpperCase()]
  const chosen = wanted.find(name => offered.includes(name))
  if (chosen === undefined)
    throw new Error(`the server offers AUTH ${offered.join(' ')}, but MAILDROP_AUTH is ${mechanism}`)
  return chosen
}

function offeredMechanisms(extensions: string): string[] {
  const lines = [...extensions.matchAll(/^250[ -]AUTH[ =]([^\r\n]*)/gim)]
  return [...new Set(lines.flatMap(([, names = '']) => names.toUpperCase().split(/[ =]+/)))].filter(Boolean)
}

/** @param reply gives the last reply of the server */
function authFor(user: string, password: string, method: string, reply: () => string): SMTPConnectionAuth {
  if (method !== 'XOAUTH2') return { method, user, pass: password }
  const oauth2 = new XOAuth2({
    user,
    provisionCallback: (_user, renew, callback) => {
      // Asked for another one because the server has refused this.
      if (renew) callback(Object.assign(new Error('Invalid login'), { response: reply() }))
      else callback(null, password)
    },
  })
  return { method, user, oauth2 }
}

function isRefusal(error: unknown): boolean {
  const { code, response } = error as Failure
  return code === 'EAUTH' && response !== undefined && /^5/.test(response)
}

/** A server might say what it was given. */
function withoutPassword(error: unknown, user: string, password: string): unknown {
  const { message, response } = error as Failure
  // as PLAIN (RFC 4616), XOAUTH2 and LOGIN send it
  const sent = [`\0${user}\0${password}`, `user=${user}\u0001auth=Bearer ${password}\u0001\u0001`, password]
  const forms = sent.map(text => Buffer.from(text).toString('base64'))
  const hide = (text: string): string =>
    hidePassword(
      forms.reduce((hidden, form) => hidden.replaceAll(form, MASK), text),
      password,
    )
  return Object.assign(error as Error, { message: hide(message), ...(response ? { response: hide(response) } : {}) })
}

const MASK = '********'

/**
 * A very short one is hidden only where it stands alone. Within words it cannot be told from them; and a reply without each of its
 * letters could not be read by people, but the letter could be guessed.
 */
function hidePassword(text: string, password: string): string {
  if (password.length >= MIN_PASSWORD) return text.replaceAll(password, MASK)
  const escaped = password.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  return text.replace(new RegExp(`(?<![\\p{L}\\p{N}])${escaped}(?![\\p{L}\\p{N}])`, 'gu'), MASK)
}
