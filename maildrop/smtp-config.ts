/** The part of the configuration that is about the SMTP server. */
import { accessSync, constants, statSync } from 'node:fs'
import type { readValue } from './config-value.ts'
import { messageOf, systemCode } from './errors.ts'
import type { ConfigKeyName } from './keys.ts'
import { kindOf } from './small-file.ts'

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

/** Characters of a password that can be told from a part of a word. */
export const MIN_PASSWORD = 4

export type PasswordSource =
  | { readonly from: 'value'; readonly value: string }
  /** The first line of a file, read for every login. */
  | { readonly from: 'file'; readonly path: string }
  /** The first line that a program prints. */
  | { readonly from: 'command'; readonly command: readonly [string, ...string[]] }

type Value = ReturnType<typeof readValue>
/** Notes what is wrong with keys that do not go together, at the place of one of them. */
type Contradict = (key: ConfigKeyName, text: string) => void

export function smtpConfig(value: Value, contradict: Contradict): SmtpConfig {
  const tls = value.choice('MAILDROP_TLS')
  const verify = value.choice('MAILDROP_TLS_VERIFY')
  return {
    host: value.host('SMTP_HOST'),
    port: value.number('SMTP_PORT'),
    tls,
    tlsVerify: verify === 'auto' ? tls === 'required' || tls === 'implicit' : verify === 'always',
    tlsMin: value.choice('MAILDROP_TLS_MIN'),
    tlsCa: value.path('MAILDROP_TLS_CA'),
    login: smtpLogin(value, contradict),
    dkim: dkimConfig(value, contradict),
  }
}

const PASSWORDS = ['MAILDROP_PASSWORD', 'MAILDROP_PASSWORD_FILE', 'MAILDROP_PASSWORD_COMMAND'] as const

function smtpLogin(value: Value, contradict: Contradict): SmtpLogin | undefined {
  const user = value.text('MAILDROP_LOGIN')
  const mechanism = value.choice('MAILDROP_AUTH')
  const text = value.text('MAILDROP_PASSWORD')
  const path = value.path('MAILDROP_PASSWORD_FILE')
  const command = value.command('MAILDROP_PASSWORD_COMMAND')
  const given: [ConfigKeyName, PasswordSource][] = []
  if (text !== undefined) given.push(['MAILDROP_PASSWORD', { from: 'value', value: text }])
  if (path !== undefined) given.push(['MAILDROP_PASSWORD_FILE', { from: 'file', path }])
  if (command !== undefined) given.push(['MAILDROP_PASSWORD_COMMAND', { from: 'command', command }])
  // of one that is wrong itself nothing more is said
  if (['MAILDROP_LOGIN' as const, ...PASSWORDS].some(value.isRefused)) return undefined
  const [first, second] = given
  if (second !== undefined) contradict(second[0], `${first?.[0]} and ${second[0]} are both set; set one of them`)
  if (user === undefined && first !== undefined)
    contradict(first[0], `${first[0]} is set, but MAILDROP_LOGIN is not; set both or neither`)
  if (user !== undefined && first === undefined)
    contradict('MAILDROP_LOGIN', 'MAILDROP_LOGIN is set, but MAILDROP_PASSWORD is not; set both or neither')
  return user === undefined || first === undefined ? undefined : { user, mechanism, password: first[1] }
}

const DKIM = ['MAILDROP_DKIM_DOMAIN', 'MAILDROP_DKIM_SELECTOR', 'MAILDROP_DKIM_KEY_FILE'] as const

function dkimConfig(value: Value, contradict: Contradict): DkimConfig | undefined {
  const domain = value.domain('MAILDROP_DKIM_DOMAIN')
  const selector = value.labels('MAILDROP_DKIM_SELECTOR')
  const keyFile = value.path('MAILDROP_DKIM_KEY_FILE')
  if (DKIM.some(value.isRefused)) return undefined
  if (domain !== undefined && selector !== undefined && keyFile !== undefined) return { domain, selector, keyFile }
  const missing = DKIM.filter((_key, index) => [domain, selector, keyFile][index] === undefined)
  const present = DKIM.find(key => !missing.includes(key))
  if (present !== undefined)
    contradict(
      present,
      `${present} is set, but ${missing.join(' and ')} ${missing.length > 1 ? 'are' : 'is'} not; set all or none`,
    )
  return undefined
}

/** What is not wrong, but should be looked at. */
export function smtpWarnings({ tls, port, login, dkim }: SmtpConfig): string[] {
  const warnings: string[] = []
  if (port === 465 && tls !== 'implicit')
    warnings.push('SMTP_PORT is 465, where servers begin with TLS; set MAILDROP_TLS="implicit"')
  if (port !== 465 && tls === 'implicit')
    warnings.push(`MAILDROP_TLS is implicit, and SMTP_PORT is ${port}; servers begin with TLS at port 465`)
  if (login?.password.from === 'value' && login.password.value.length < MIN_PASSWORD)
    warnings.push(
      `MAILDROP_PASSWORD has fewer than ${MIN_PASSWORD} characters: where the server repeats it within a word it cannot be hidden in the log; choose a longer one`,
    )
  if (login?.password.from === 'file' && isExposed(login.password.path))
    warnings.push(`MAILDROP_PASSWORD_FILE can be read by others; run: chmod 600 ${login.password.path}`)
  if (dkim !== undefined && isExposed(dkim.keyFile))
    warnings.push(`MAILDROP_DKIM_KEY_FILE can be read by others; run: chmod 600 ${dkim.keyFile}`)
  return warnings
}

/** True if a file can be read by others than its owner. */
export function isExposed(path: string): boolean {
  try {
    const stat = statSync(path)
    return stat.isFile() && (stat.mode & 0o077) !== 0
  } catch {
    // What this user cannot even look at is another question.
    return false
  }
}

/** Files that the configuration names and this user cannot use; one line each. Mail waits until that is corrected. */
export function unusableFiles({ login, tlsCa, dkim }: SmtpConfig): string[] {
  const files: [ConfigKeyName, string | undefined, number][] = [
    ['MAILDROP_TLS_CA', tlsCa, constants.R_OK],
    ['MAILDROP_DKIM_KEY_FILE', dkim?.keyFile, constants.R_OK],
    ['MAILDROP_PASSWORD_FILE', login?.password.from === 'file' ? login.password.path : undefined, constants.R_OK],
    [
      'MAILDROP_PASSWORD_COMMAND',
      login?.password.from === 'command' ? login.password.command[0] : undefined,
      constants.X_OK,
    ],
  ]
  return files.flatMap(([key, path, mode]) => {
    const problem = path === undefined ? undefined : problemWith(path, mode)
    return problem === undefined ? [] : [`${key} ${path} cannot be used, and mail waits until it can: ${problem}`]
  })
}

function problemWith(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode)
    const kind = kindOf(statSync(path))
    return kind && `it is ${kind}, where a file is needed`
  } catch (error) {
    return systemCode(error) ?? messageOf(error)
  }
}
