/**
 * A mailbox that takes mail in the place of the SMTP server.
 */
import type { Envelope } from '../spool/format.ts'

/** Where mail is kept instead of being sent. */
export interface CaptureTarget {
  readonly format: 'maildir' | 'mbox'
  /** Absolute path. */
  readonly path: string
}

/** `maildir:/path`, as it is written in the configuration. */
export function captureName({ format, path }: CaptureTarget): string {
  return `${format}:${path}`
}

/** What is kept of a message. */
export interface Kept {
  /** The same whenever the same message goes to the same recipients: fit for a file name and for a header. */
  readonly key: string
  /** True if it may be in the mailbox already. */
  readonly repeated: boolean
  readonly envelope: Envelope
  /** Header lines that tell the envelope, ending in LF. */
  readonly trace: string
  /** The message, once; nothing is read before that. After the last piece the message counts as delivered. */
  open(): AsyncIterable<Uint8Array>
}

export interface Mailbox {
  /** Makes it, if need be, and finds out whether it can be written. */
  prepare(): Promise<void>
  /**
   * Puts a message into it, durably, once; when this throws it is not in it.
   * @returns where it is, for people
   */
  keep(mail: Kept): Promise<string>
}
