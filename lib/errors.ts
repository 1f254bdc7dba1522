/**
 * Errors of the object database: one class, told apart by `code`.
 *
 * Codes are stable and may be switched on; messages are free to improve. A message says what was wrong,
 * where, what was expected, what was found, and what to do. The cause, where there is one, is chained.
 */

/** Every code, with what it means. docs/errors.md says what to do; it is checked against this. */
export const ERROR_CODES = {
  CONFLICT: 'Another transaction changed an object that this one changed too; run it again.',
  READ_CONFLICT: 'Another transaction changed an object that this one relied on; run it again.',
  OBJECT_NOT_FOUND: 'The database holds no object with this oid.',
  DANGLING_REFERENCE: 'What is asked would leave a reference to an object that is not there.',
  HISTORY_PACKED: 'What is asked for was before the last pack.',
  PACK_RUNNING: 'The database is being packed already.',
  UNDO_CONFLICT:
    'What is to be undone has been changed since, its history has been packed, or what it was in has been taken out of the tree.',
  INVALID_ID: 'A name that cannot stand in a path.',
  DUPLICATE_ID: 'The container has an object of that name already.',
  NOT_FOUND: 'A path or a name leads to nothing.',
  WRONG_TYPE: 'What was found is not of the expected type.',
  UNKNOWN_CLASS: 'No class is registered under that name, or the class of an object is not registered.',
  INVALID_CLASS: 'A class cannot be registered as asked, or its upgrade function gives no state.',
  INVALID_VALUE: 'A value that cannot be stored.',
  INVALID_REFERENCE: 'A reference to an object of another connection or database.',
  INVALID_ARGUMENT: 'An argument or option is not what the operation takes.',
  DATABASE_LOCKED: 'Another process (or another openDatabase of this one) has the database open.',
  DATABASE_CORRUPT: 'A stored record is damaged.',
  DATABASE_FORMAT: 'The directory holds something else, or a database of another format version.',
  DATABASE_CLOSED: 'The database has been closed.',
  DATABASE_FAILED: 'The storage could not be read or written; the cause says why.',
  CONNECTION_CLOSED: 'The connection (or the transaction it was opened for) has ended.',
  NOT_CONNECTED: 'The object is not in the tree of an open database yet.',
  CONNECTION_DIRTY: 'The connection has changes that were neither committed nor aborted.',
  READ_ONLY: 'A change was made where only reading is allowed.',
  TRANSACTION_FAILED: 'An earlier error left the transaction unable to commit; abort it.',
  TRANSACTION_DOOMED: 'The transaction was doomed: it can only be aborted.',
  SAVEPOINT_INVALID: 'The savepoint is gone: rolled back past, or its transaction has ended.',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

/** What was given may be of any length; a message that repeats it is cut off. */
const LONGEST = 4_000

/** An error of the object database. Switch on `code`. */
export class ObjectError extends Error {
  override readonly name = 'ObjectError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message.length > LONGEST ? `${message.slice(0, LONGEST)}… (${message.length} characters)` : message, options)
    this.code = code
  }
}

/** True for errors after which the same transaction, run again, may succeed: conflicts, and any error with `retryable: true`. */
export function isRetryable(error: unknown): boolean {
  if (error instanceof ObjectError && (error.code === 'CONFLICT' || error.code === 'READ_CONFLICT')) return true
  return error instanceof Error && (error as { retryable?: unknown }).retryable === true
}

/** The text of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
