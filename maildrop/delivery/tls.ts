/** Encryption: what is asked of TLS, and what went wrong with it, in words. */
import { X509Certificate } from 'node:crypto'
import { type ConnectionOptions, rootCertificates } from 'node:tls'
import type { SMTPConnectionOptions } from 'nodemailer/lib/smtp-connection'
import { messageOf } from '../errors.ts'
import { LARGE, readSmallFile } from '../small-file.ts'
import type { SmtpConfig } from '../smtp-config.ts'
import { type Failure, noReply, SessionError } from './failure.ts'

/** @throws {SessionError} if MAILDROP_TLS_CA cannot be used */
export function tlsOptions(smtp: SmtpConfig): SMTPConnectionOptions {
  return {
    secure: smtp.tls === 'implicit',
    ignoreTLS: smtp.tls === 'never',
    opportunisticTLS: smtp.tls === 'offered',
    requireTLS: smtp.tls === 'required',
    tls: { rejectUnauthorized: smtp.tlsVerify, minVersion: smtp.tlsMin, ...trustedCertificates(smtp) },
  }
}

function trustedCertificates({ tls, tlsCa }: SmtpConfig): Pick<ConnectionOptions, 'ca'> {
  if (tlsCa === undefined || tls === 'never') return {}
  return { ca: [...rootCertificates, certificatesIn(tlsCa)] }
}

/** Node trusts nothing that it cannot read, without a word. */
function certificatesIn(path: string): string {
  let text: string
  try {
    text = readSmallFile(path, LARGE)
  } catch (error) {
    throw unusable(`cannot read MAILDROP_TLS_CA ${path}: ${messageOf(error)}`)
  }
  const found = text.match(/-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----[^-]*-----END [^-]*-----/g) ?? []
  if (found.length === 0) throw unusable(`MAILDROP_TLS_CA ${path} has no certificate in it`)
  for (const [index, pem] of found.entries()) {
    try {
      new X509Certificate(pem)
    } catch (error) {
      throw unusable(`certificate ${index + 1} in MAILDROP_TLS_CA ${path} cannot be read: ${messageOf(error)}`)
    }
  }
  return text
}

const unusable = (text: string): SessionError => new SessionError(noReply('tls', text))

/** What an error of TLS means; undefined if it is none. */
export function tlsProblem(error: unknown, host: string): string | undefined {
  const { code, originalCode = code ?? '' } = error as Failure
  const { reason } = error as { reason?: string }
  if (originalCode === 'ERR_TLS_CERT_ALTNAME_INVALID') return `the certificate is not for ${host}: ${reason}`
  if (messageOf(error).includes('before secure TLS connection')) return 'the server broke off the TLS handshake'
  const known = PROBLEMS[originalCode]
  if (known !== undefined) return `${known} (${originalCode})`
  return /^(ERR_(SSL|TLS)_|EPROTO$)/.test(originalCode) ? `TLS failed (${originalCode})` : undefined
}

const NOT_SPOKEN = 'the server does not speak TLS here'
const NO_VERSION = 'the server has no version of TLS in common with MAILDROP_TLS_MIN'
const UNKNOWN_ISSUER = 'the certificate is of an issuer that is not trusted'

/** By the code of Node's error. */
const PROBLEMS: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not valid yet',
  CERT_REVOKED: 'the certificate has been revoked',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed and not trusted',
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN_ISSUER,
  UNABLE_TO_GET_ISSUER_CERT: UNKNOWN_ISSUER,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN_ISSUER,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN_ISSUER,
  ERR_SSL_WRONG_VERSION_NUMBER: NOT_SPOKEN,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NOT_SPOKEN,
  ERR_SSL_UNSUPPORTED_PROTOCOL: NO_VERSION,
  ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION: NO_VERSION,
}
