/** The configuration of a session with a server of a test's own. */
import type { SmtpConfig } from '../../maildrop/smtp-config.ts'

/** In the clear and without a login, unless told otherwise. */
export function smtpConfigFor(port: number, more: Partial<SmtpConfig> = {}): SmtpConfig {
  return {
    host: '127.0.0.1',
    port,
    tls: 'never',
    tlsVerify: false,
    tlsMin: 'TLSv1.2',
    tlsCa: undefined,
    login: undefined,
    dkim: undefined,
    ...more,
  }
}
