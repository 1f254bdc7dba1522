/**
 * Errors of composing a message: one class, told apart by `code`.
 *
 * Codes are stable and may be switched on; messages are free to improve. A message names the header or parameter, says
 * what was expected, what was found and, for an address, at which character.
 */

/** Every code, with what it means. docs/errors.md says what to do; it is checked against this. */
export const COMPOSE_ERROR_CODES = {
  BAD_ADDRESS: 'What stands in the place of an address is none.',
  NO_RECIPIENTS: 'Neither the message nor the caller names a recipient.',
  NO_SENDER: 'Neither the message nor the caller names a sender.',
  BAD_HEADER: 'A header that cannot stand in a message.',
  BAD_ENCODING:
    'A transfer encoding, character set or type that the message cannot have, or that contradicts what it says of itself.',
  TOO_MANY_RECIPIENTS: 'The message has more recipients than its mail host allows.',
  TOO_LARGE: 'The message has more bytes than its mail host allows.',
  BAD_MESSAGE: 'A message that is not of a form that can be composed.',
} as const

export type ComposeErrorCode = keyof typeof COMPOSE_ERROR_CODES

/** An error of composing. Switch on `code`. */
export class ComposeError extends Error {
  override readonly name = 'ComposeError'
  readonly code: ComposeErrorCode

  constructor(code: ComposeErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
