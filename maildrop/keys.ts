/**
 * Every configuration key, as data: the parser, the shipped `maildrop/config` and the documentation follow this table.
 *
 * An empty value means the default. Paths may be relative; they then start at the working directory.
 */

/** What a value has to be. */
export type KeyKind =
  | { readonly is: 'path' }
  | { readonly is: 'paths' }
  | { readonly is: 'text'; readonly secret?: true }
  /** An absolute path and arguments, separated by blanks; quotes keep blanks together. No shell reads it. */
  | { readonly is: 'command' }
  /** A port of the loopback interface, or the path of a file. */
  | { readonly is: 'outlet' }
  | { readonly is: 'host' }
  /** `host:port`, several separated by ";". */
  | { readonly is: 'relays' }
  | { readonly is: 'address' }
  /** A domain name (as A-labels or U-labels), or a part of one (A-labels). */
  | { readonly is: 'domain' | 'labels' }
  /** `maildir:/path` or `mbox:/path`. */
  | { readonly is: 'mailbox' }
  | { readonly is: 'flag' }
  | { readonly is: 'choice'; readonly of: Readonly<Record<string, string>> }
  /** Seconds, or with units: `5d 12h 30m 90s`. */
  | { readonly is: 'duration' }
  /** Messages per second, minute, hour or day: `100/h`. */
  | { readonly is: 'rate' }
  | { readonly is: 'integer' | 'number'; readonly min: number; readonly max: number; readonly unit?: string }
  | { readonly is: 'ignored' }

export interface ConfigKey {
  readonly kind: KeyKind
  /** The value that stands for an empty one, as it would be written; where it is empty, `description` tells it. */
  readonly default: string
  readonly description: string
}

export const CONFIG_KEYS = {
  MAILDROP_HOME: {
    kind: { is: 'path' },
    default: '',
    description: 'Directory of all run-time state. Default: data/maildrop under the working directory.',
  },
  MAILDROP_SPOOL: {
    kind: { is: 'paths' },
    default: '',
    description:
      'Spool directory, or several separated by ";": mail is written to the first, all are served. Default: $MAILDROP_HOME/spool.',
  },
  MAILDROP_GROUP: {
    kind: { is: 'flag' },
    default: '0',
    description:
      '1: accept mail of all members of the group of the spool directory, which has to have the mode 3770 then.',
  },
  MAILDROP_VAR: {
    kind: { is: 'path' },
    default: '',
    description: 'Directory of the log, the pid file and the control socket. Default: $MAILDROP_HOME/var.',
  },
  MAILDROP_PID_FILE: {
    kind: { is: 'path' },
    default: '',
    description: 'Pid file of the daemon. Default: $MAILDROP_VAR/maildrop.pid.',
  },
  MAILDROP_LOG_FILE: {
    kind: { is: 'path' },
    default: '',
    description: 'Log file. It may be rotated in any way at any time. Default: $MAILDROP_VAR/maildrop.log.',
  },
  MAILDROP_LOG_FORMAT: {
    kind: { is: 'choice', of: { text: 'text', json: 'json' } },
    default: 'text',
    description: 'Format of the log: text is key=value lines, json is one JSON object per line.',
  },
  SMTP_HOST: { kind: { is: 'host' }, default: 'localhost', description: 'Name or address of the SMTP server.' },
  SMTP_PORT: {
    kind: { is: 'integer', min: 1, max: 65535 },
    default: '25',
    description: 'Port of the SMTP server.',
  },
  MAILDROP_TLS: {
    kind: { is: 'choice', of: { 0: 'never', 1: 'offered', 2: 'required', implicit: 'implicit' } },
    default: '1',
    description:
      'Encryption: 0 never, 1 by STARTTLS if the server offers it, 2 STARTTLS required, implicit from the beginning (port 465).',
  },
  MAILDROP_TLS_VERIFY: {
    kind: { is: 'choice', of: { auto: 'auto', 0: 'never', 1: 'always' } },
    default: 'auto',
    description:
      'Whether the certificate must be valid for SMTP_HOST: 0 never, 1 always, auto if MAILDROP_TLS is 2 or implicit.',
  },
  MAILDROP_TLS_MIN: {
    kind: { is: 'choice', of: { '1.2': 'TLSv1.2', '1.3': 'TLSv1.3' } },
    default: '1.2',
    description: 'Lowest version of TLS that is accepted: 1.2 or 1.3.',
  },
  MAILDROP_TLS_CA: {
    kind: { is: 'path' },
    default: '',
    description: 'PEM file of certificates to trust besides the built-in ones.',
  },
  MAILDROP_LOGIN: {
    kind: { is: 'text' },
    default: '',
    description: 'User name at the SMTP server. With one, mail is only ever sent after logging in.',
  },
  MAILDROP_AUTH: {
    kind: {
      is: 'choice',
      of: { auto: 'auto', plain: 'plain', login: 'login', 'cram-md5': 'cram-md5', xoauth2: 'xoauth2' },
    },
    default: 'auto',
    description:
      'How to log in: plain, login, cram-md5, xoauth2 (the password is an access token), or auto: a way that the server offers and that takes a password.',
  },
  MAILDROP_PASSWORD: { kind: { is: 'text', secret: true }, default: '', description: 'Password at the SMTP server.' },
  MAILDROP_PASSWORD_FILE: {
    kind: { is: 'path' },
    default: '',
    description: 'File with the password in its first line, read for every login.',
  },
  MAILDROP_PASSWORD_COMMAND: {
    kind: { is: 'command' },
    default: '',
    description:
      'Command that prints the password as its first line: an absolute path and arguments. It is run without a shell, and again when the server refuses the login.',
  },
  MAILDROP_DKIM_DOMAIN: {
    kind: { is: 'domain' },
    default: '',
    description:
      'Domain that messages are signed for (DKIM). maildropctl configtest prints what has to be published in the DNS.',
  },
  MAILDROP_DKIM_SELECTOR: { kind: { is: 'labels' }, default: '', description: 'Selector of the DKIM key.' },
  MAILDROP_DKIM_KEY_FILE: {
    kind: { is: 'path' },
    default: '',
    description: 'PEM file of the private RSA key that messages are signed with.',
  },
  MAILDROP_RELAYS: {
    kind: { is: 'relays' },
    default: '',
    description:
      'Further SMTP servers that mail may ask for (smtphost in a template): host:port, several separated by ";". They are never logged in to.',
  },
  MAILDROP_INTERVAL: {
    kind: { is: 'number', min: 0.1, max: 86_400, unit: 'seconds' },
    default: '120',
    description:
      'Seconds between two scans of the spool. New mail is noticed at once; the scan finds what a notification missed.',
  },
  MAILDROP_CONNECTIONS: {
    kind: { is: 'integer', min: 1, max: 100, unit: 'connections' },
    default: '5',
    description: 'Most connections to the SMTP server at a time.',
  },
  MAILDROP_BATCH: {
    kind: { is: 'integer', min: 0, max: 1_000_000, unit: 'messages' },
    default: '0',
    description: 'Messages per connection; 0 is no limit.',
  },
  MAILDROP_MAX_AGE: {
    kind: { is: 'duration' },
    default: '5d',
    description: 'How long a message is tried before it is given up: seconds, or such as 2d 12h or 90m.',
  },
  MAILDROP_RATE: {
    kind: { is: 'rate' },
    default: '',
    description:
      'Most messages in any period of one second, minute, hour or day, over all connections: such as 5/s, 60/m, 100/h or 2000/d. Default: no limit.',
  },
  MAILDROP_ON_UNKNOWN: {
    kind: { is: 'choice', of: { send: 'send', ask: 'ask' } },
    default: 'send',
    description:
      'What happens with a message that the server may have taken, because the connection or the daemon broke off behind its end: send it again, with the same Message-ID; or ask, which puts it on hold until somebody releases (or deletes) it.',
  },
  WAIT_INTERVAL: {
    kind: { is: 'number', min: 0, max: 86_400, unit: 'seconds' },
    default: '0',
    description: 'Seconds between two messages. More than 0 implies one connection.',
  },
  MAILDROP_BOUNCE: {
    kind: { is: 'flag' },
    default: '0',
    description: '1: tell the sender of a message, by mail, of recipients that could not be reached.',
  },
  MAILDROP_ON_FAILURE: {
    kind: { is: 'command' },
    default: '',
    description:
      'Command that is told of every message that was given up, as JSON on its standard input: an absolute path and arguments.',
  },
  MAILDROP_METRICS: {
    kind: { is: 'outlet' },
    default: '',
    description:
      'Numbers for Prometheus: a port such as 9925, on which http://127.0.0.1:9925/metrics has them, or the path of a file that is kept up to date.',
  },
  MAILDROP_STALL_ALARM: {
    kind: { is: 'duration' },
    default: '15m',
    description: 'Raise an alarm, in log, status and metrics, when mail is due and nothing moves for so long.',
  },
  DEBUG: { kind: { is: 'flag' }, default: '0', description: '1: stay in the foreground and print the log.' },
  SUPERVISED_DAEMON: {
    kind: { is: 'flag' },
    default: '0',
    description: '1: stay in the foreground and print nothing, for systemd and other supervisors.',
  },
  DEBUG_RECEIVER: {
    kind: { is: 'address' },
    default: '',
    description: 'Send everything to this address instead of the recipients. Headers stay as they are.',
  },
  MAILDROP_CAPTURE: {
    kind: { is: 'mailbox' },
    default: '',
    description:
      'For development and staging: maildir:/path or mbox:/path takes all mail, and nothing is sent to the SMTP server.',
  },
  ADD_MESSAGEID: {
    kind: { is: 'flag' },
    default: '0',
    description: '1: give messages without a Message-ID one, the same in every attempt.',
  },
  PYTHON: { kind: { is: 'ignored' }, default: '', description: 'Ignored; the original needed it.' },
} as const satisfies Record<string, ConfigKey>

export type ConfigKeyName = keyof typeof CONFIG_KEYS

export const CONFIG_KEY_NAMES = Object.keys(CONFIG_KEYS) as ConfigKeyName[]

export function isConfigKey(name: string): name is ConfigKeyName {
  return Object.hasOwn(CONFIG_KEYS, name)
}

/** What is printed for a value: secrets are masked, here and nowhere else. */
export function shownValue(name: ConfigKeyName, value: string): string {
  const kind: KeyKind = CONFIG_KEYS[name].kind
  return kind.is === 'text' && kind.secret && value !== '' ? '********' : value
}
