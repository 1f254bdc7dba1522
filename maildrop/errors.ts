/**
 * Errors of the maildrop: one class, told apart by `code`.
 *
 * Codes are stable and may be switched on; messages are free to improve. A message says what was wrong,
 * where, what was expected, what was found, and what to do. The cause, where there is one, is chained.
 */

/** Every code, with what it means. docs/errors.md says what to do; it is checked against this. */
export const MAILDROP_ERROR_CODES = {
  CONFIG_UNREADABLE: 'The configuration file could not be read.',
  CONFIG_INVALID: 'A line, a key or a value of the configuration is not what is expected.',
  INVALID_ADDRESS: 'An envelope address that cannot be used.',
  INVALID_MAIL_ID: 'A mail id that cannot name a file in the spool.',
  INVALID_MAIL_FILE: 'A file that is not a complete mail file.',
  SPOOL_FULL: 'The file system of the spool has no space left (or a quota is used up).',
  SPOOL_DENIED: 'The spool may not be read or written by this user, or is mounted read-only.',
  SPOOL_FAILED: 'The spool could not be read or written; the cause says why.',
  NOT_DELIVERED: 'A message that was to be delivered at once did not reach all of its recipients.',
  CLAIM_LOST: 'A message that this daemon had claimed was taken over by another one.',
  MAIL_NOT_FOUND: 'No message in the spool has this id.',
  AMBIGUOUS_ID: 'Several messages have this id, or ids that begin like it.',
  MAIL_BUSY: 'The message is being delivered, or has just moved on.',
  WRONG_STATE: 'The message is in a state in which this cannot be done.',
  ALREADY_RUNNING: 'A daemon is running already.',
  START_FAILED: 'The daemon did not become ready.',
  STOP_FAILED: 'The daemon did not stop.',
  NOT_RUNNING: 'No daemon is running.',
  CONTROL_FAILED: 'A running daemon could not be asked, or gave no usable answer.',
  RELOAD_REFUSED: 'The daemon keeps its configuration; the new one cannot be used.',
} as const

export type MaildropErrorCode = keyof typeof MAILDROP_ERROR_CODES

/** An error of the maildrop. Switch on `code`; `path` names the file concerned, where there is one. */
export class MaildropError extends Error {
  override readonly name = 'MaildropError'
  readonly code: MaildropErrorCode
  readonly path: string | undefined
  /** Of CONFIG_INVALID: everything that is wrong; the message has it too. */
  readonly problems: readonly Problem[]

  constructor(
    code: MaildropErrorCode,
    message: string,
    options?: ErrorOptions & { path?: string; problems?: Problem[] },
  ) {
    super(message, options)
    this.code = code
    this.path = options?.path
    this.problems = options?.problems ?? []
  }
}

/** One thing that is wrong with a configuration. */
export interface Problem {
  /** `file:line`, or `environment`. */
  readonly where: string
  /** Key, value (masked if secret), and what is expected. */
  readonly text: string
  /** The key, where a line that cannot be read has one. */
  readonly key?: string | undefined
}

export function isMaildropErrorCode(text: string): text is MaildropErrorCode {
  return Object.hasOwn(MAILDROP_ERROR_CODES, text)
}

/** The text of whatever was thrown, on one line. */
export function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ').trim()
}

/** The system's error code (`ENOENT`, …) of whatever was thrown, or undefined. */
export function systemCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined
  return typeof code === 'string' ? code : undefined
}

/** Of what the system itself has run out of: the text, and what to do about it. */
export function explained(error: unknown): string {
  const system = systemCode(error)
  const remedy = error instanceof MaildropError || !isUsedUp(system) ? undefined : REMEDIES[system]?.[1]
  return remedy === undefined ? messageOf(error) : `${messageOf(error)}; ${remedy}`
}

const isUsedUp = (system: string | undefined): system is string =>
  ['EMFILE', 'ENFILE', 'ENOSPC', 'EDQUOT'].includes(system ?? '')

/** Whether what the file system refused concerns one file and not all: a bad block, say, or a file that may not be moved. */
export function concernsOneFile(error: unknown): boolean {
  const system = systemCode(error instanceof MaildropError ? error.cause : error)
  return ['EIO', 'ESTALE', 'EBADMSG', 'EUCLEAN', 'EPERM', 'EBUSY'].includes(system ?? '')
}

/** What the file system refused, as a MaildropError that says what to do about it. */
export function spoolError(doing: string, path: string, cause: unknown): MaildropError {
  const system = systemCode(cause)
  const [code, remedy] = REMEDIES[system ?? ''] ?? ['SPOOL_FAILED', 'see the cause']
  return new MaildropError(code, `cannot ${doing} ${path}: ${system ?? messageOf(cause)}; ${remedy}`, { cause, path })
}

const FULL = ['SPOOL_FULL', 'free some space on that file system'] as const
const DENIED = ['SPOOL_DENIED', 'run as the user who owns the spool, or correct its owner and mode'] as const
const REMEDIES: Record<string, readonly [MaildropErrorCode, string]> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EACCES: DENIED,
  EPERM: DENIED,
  EROFS: ['SPOOL_DENIED', 'mount the file system for writing, or set MAILDROP_HOME elsewhere'],
  ENOENT: ['SPOOL_FAILED', 'the directory is gone; start the daemon (or call ensureSpool) to create it'],
  ENOTDIR: ['SPOOL_FAILED', 'a file stands where a directory is needed; move it away'],
  EEXIST: ['SPOOL_FAILED', 'a file stands where a directory is needed; move it away'],
  EISDIR: ['SPOOL_FAILED', 'a directory stands where a file is needed; move it away'],
  EMFILE: ['SPOOL_FAILED', 'raise the limit of open files (ulimit -n; LimitNOFILE= of a service)'],
  ENFILE: ['SPOOL_FAILED', 'raise the limit of open files of the system'],
}
