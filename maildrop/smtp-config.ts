/** The part of the configuration that is about the SMTP server. */
import { statSync } from 'node:fs'
import { domainToASCII } from 'node:url'
import type { readValue } from './config-value.ts'
import { MaildropError } from './errors.ts'

export interface SmtpConfig {
  readonly host: string
  readonly port: number
  /** `offered` and `required` are STARTTLS; `implicit` begins with TLS. */
  readonly tls: 'never' | 'offered' | 'required' | 'implicit'
  /** Whether the certificate has to be valid for `host`. */
  readonly tlsVerify: boolean
  readonly tlsMin: 'TLSv1.2' | 'TLSv1.3'
  /** PEM file of further certificates to trust. */
  readonly tlsCa: string | undefined
  /** With a login mail is only sent after logging in. */
  readonly login: SmtpLogin | undefined
  /** With it every message is signed. */
  readonly dkim: DkimConfig | undefined
}

export interface DkimConfig {
  /** As A-labels. */
  readonly domain: string
  readonly selector: string
  readonly keyFile: string
}

export interface SmtpLogin {
  readonly user: string
  readonly mechanism: 'auto' | 'plain' | 'login' | 'cram-md5' | 'xoauth2'
  readonly password: PasswordSource
}

export type PasswordSource =
  | { readonly from: 'value'; readonly value: string }
  /** The first line of a file, read for every login. */
  | { readonly from: 'file'; readonly path: string }
  /** The first line that a program prints. */
  | { readonly from: 'command'; readonly command: readonly [string, ...string[]] }

/** @throws {MaildropError} CONFIG_INVALID */
export function smtpConfig(value: ReturnType<typeof readValue>, file: string): SmtpConfig {
  const tls = value.choice('MAILDROP_TLS')
  const verify = value.choice('MAILDROP_TLS_VERIFY')
  return {
    host: value.host('SMTP_HOST'),
    port: value.number('SMTP_PORT'),
    tls,
    tlsVerify: verify === 'auto' ? tls === 'required' || tls === 'implicit' : verify === 'always',
    tlsMin: value.choice('MAILDROP_TLS_MIN'),
    tlsCa: value.path('MAILDROP_TLS_CA'),
    login: smtpLogin(value, file),
    dkim: dkimConfig(value, file),
  }
}

function smtpLogin(value: ReturnType<typeof readValue>, file: string): SmtpLogin | undefined {
  const user = value.text('MAILDROP_LOGIN')
  const mechanism = value.choice('MAILDROP_AUTH')
  const text = value.text('MAILDROP_PASSWORD')
  const path = value.path('MAILDROP_PASSWORD_FILE')
  const command = value.command('MAILDROP_PASSWORD_COMMAND')
  const given: [string, PasswordSource][] = []
  if (text !== undefined) given.push(['MAILDROP_PASSWORD', { from: 'value', value: text }])
  if (path !== undefined) given.push(['MAILDROP_PASSWORD_FILE', { from: 'file', path }])
  if (command !== undefined) given.push(['MAILDROP_PASSWORD_COMMAND', { from: 'command', command }])
  const [first, second] = given
  if (second !== undefined) throw contradiction(file, `${first?.[0]} and ${second[0]} are both set; set one of them`)
  if (user === undefined && first === undefined) return undefined
  if (user === undefined)
    throw contradiction(file, `${first?.[0]} is set, but MAILDROP_LOGIN is not; set both or neither`)
  if (first === undefined)
    throw contradiction(file, 'MAILDROP_LOGIN is set, but MAILDROP_PASSWORD is not; set both or neither')
  return { user, mechanism, password: first[1] }
}

function dkimConfig(value: ReturnType<typeof readValue>, file: string): DkimConfig | undefined {
  const domain = value.text('MAILDROP_DKIM_DOMAIN')
  const selector = value.text('MAILDROP_DKIM_SELECTOR')
  const keyFile = value.path('MAILDROP_DKIM_KEY_FILE')
  if (domain === undefined && selector === undefined && keyFile === undefined) return undefined
  if (domain === undefined || selector === undefined || keyFile === undefined)
    throw contradiction(
      file,
      'of MAILDROP_DKIM_DOMAIN, MAILDROP_DKIM_SELECTOR and MAILDROP_DKIM_KEY_FILE some are set, and some are not; set all or none',
    )
  const name = domainToASCII(domain)
  if (!LABELS.test(name)) throw contradiction(file, `MAILDROP_DKIM_DOMAIN is "${domain}"; expected a domain name`)
  if (!LABELS.test(selector))
    throw contradiction(file, `MAILDROP_DKIM_SELECTOR is "${selector}"; expected labels of a domain name`)
  return { domain: name, selector, keyFile }
}

const LABELS = /^(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*$/

function contradiction(file: string, problem: string): MaildropError {
  return new MaildropError('CONFIG_INVALID', `${file}: ${problem}`)
}

/** What is not wrong, but should be looked at. */
export function smtpWarnings({ tls, port, login, dkim }: SmtpConfig): string[] {
  const warnings: string[] = []
  if (port === 465 && tls !== 'implicit')
    warnings.push('SMTP_PORT is 465, where servers begin with TLS; set MAILDROP_TLS="implicit"')
  if (port !== 465 && tls === 'implicit')
    warnings.push(`MAILDROP_TLS is implicit, and SMTP_PORT is ${port}; servers begin with TLS at port 465`)
  if (login?.password.from === 'file' && isExposed(login.password.path))
    warnings.push(`MAILDROP_PASSWORD_FILE can be read by others; run: chmod 600 ${login.password.path}`)
  if (dkim !== undefined && isExposed(dkim.keyFile))
    warnings.push(`MAILDROP_DKIM_KEY_FILE can be read by others; run: chmod 600 ${dkim.keyFile}`)
  return warnings
}

/** True if a file can be read by others than its owner. */
export function isExposed(path: string): boolean {
  return ((statSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0
}
