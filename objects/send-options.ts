/** What a message can be sent with, and what is wrong with it. */
import { checkOptions, ObjectError, unexpected } from '../lib/index.ts'
import { dateOf } from './properties.ts'
import { checkKey } from './sent-keys.ts'

/** Options of `MaildropHost.send`. What they give replaces what the message says. */
export interface SendOptions {
  /** The recipients: replaces To, and is the whole envelope. A list, or addresses with commas between. */
  readonly to?: string | readonly string[]
  /** The sender: replaces From. */
  readonly from?: string
  /** Replaces the Subject header. */
  readonly subject?: string
  /** The body's transfer encoding; by default what the text needs. */
  readonly encode?: 'base64' | 'quoted-printable' | '7bit' | '8bit'
  /** The body's character set. Default utf-8. */
  readonly charset?: string
  /** The body's media type, such as `text/html`. Default text/plain. */
  readonly type?: string
  /** Whether a text/html body gets a plain text beside it, made of it. Default false, for templates true. */
  readonly alternative?: boolean
  /** Sets Auto-Submitted (RFC 3834), which tells programs such as vacation messages not to answer. */
  readonly autoSubmitted?: 'auto-generated' | 'auto-replied' | 'no'
  /** What a message object may name instead of bringing it, by `path` or `href`: files of this machine, URLs. Default nothing. */
  readonly allow?: readonly ('files' | 'urls')[]
  /** Not to be sent before: a Date, or ISO 8601 with a zone. A time in the past means at once. */
  readonly sendAt?: Date | string
  /**
   * The message is sent only if none was sent by this host under this key within the host's `keyAge`; otherwise nothing happens, and the
   * first one's Message-ID is returned. 1 to 200 characters.
   */
  readonly key?: string
  /**
   * Delivers while the caller waits, without the spool: before the transaction commits, and whether it commits or not. A failure is an error
   * (NOT_DELIVERED), and nothing is tried again.
   */
  readonly immediate?: boolean
}

const OPTIONS = new Set([
  'to',
  'from',
  'subject',
  'encode',
  'charset',
  'type',
  'alternative',
  'autoSubmitted',
  'allow',
  'sendAt',
  'key',
  'immediate',
])

const TEXTS = ['subject', 'encode', 'charset', 'type', 'autoSubmitted'] as const

/**
 * @returns when the message is to be sent, if that is not now; its key; whether it goes out while the caller waits
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export function readOptions(options: SendOptions): {
  notBefore: Date | undefined
  key: string | undefined
  immediate: boolean
} {
  const unknown = Object.keys(checkOptions('send', options)).find(key => !OPTIONS.has(key))
  if (unknown !== undefined)
    throw new ObjectError('INVALID_ARGUMENT', `send takes no option '${unknown}'; it takes ${[...OPTIONS].join(', ')}`)
  for (const name of TEXTS)
    if (options[name] !== undefined && typeof options[name] !== 'string')
      throw unexpected(name, 'a text', options[name])
  if (options.allow !== undefined && !Array.isArray(options.allow))
    throw unexpected('allow', "a list of 'files' and 'urls'", options.allow)
  const { immediate = false } = options
  if (typeof immediate !== 'boolean') throw unexpected('immediate', 'true or false', immediate)
  const other = immediate ? (['sendAt', 'key'] as const).find(name => options[name] !== undefined) : undefined
  if (other !== undefined)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `immediate: a message that is delivered at once cannot have ${other === 'key' ? 'a key: only the transaction could remember it' : 'a time (sendAt)'}`,
    )
  return {
    immediate,
    notBefore: options.sendAt === undefined ? undefined : laterTime(options.sendAt),
    key: options.key === undefined ? undefined : checkKey(options.key),
  }
}

/** @returns undefined if that is not later than now */
function laterTime(sendAt: Date | string): Date | undefined {
  const time = typeof sendAt === 'string' ? dateOf(sendAt.trim()) : sendAt
  const isTime = time instanceof Date && !Number.isNaN(time.getTime()) && time.getUTCFullYear() <= 9999
  if (!isTime)
    throw unexpected(
      'sendAt',
      'a Date up to the year 9999, or a time with its zone like 2026-12-24T18:00:00+01:00',
      sendAt,
    )
  return time.getTime() > Date.now() ? time : undefined
}
