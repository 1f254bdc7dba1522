/**
 * Errors of templates: one class, told apart by `code`, each with the place in the author's file.
 *
 * Codes are stable and may be switched on; messages are free to improve. A message is one line and begins with
 * `file:line:column:`.
 */

/** Every code, with what it means. docs/errors.md says what to do; it is checked against this. */
export const TEMPLATE_ERROR_CODES = {
  TEMPLATE_SYNTAX: 'The template is not well-formed, or uses something that does not exist.',
  TEMPLATE_RENDER: 'The template cannot be rendered with these data.',
  TEMPLATE_UNREADABLE: 'The template file could not be read.',
  NO_PARTIAL: 'A partial that the template calls does not exist.',
  NO_MAIL_HOST: 'A sendmail block names no mail host, or what it names is none.',
  NO_FILE: 'A file that a mail is to carry does not exist.',
  MAIL_REFUSED: 'The message of a sendmail block cannot be sent; the cause says why.',
} as const

export type TemplateErrorCode = keyof typeof TEMPLATE_ERROR_CODES

/** A place in a template's source; both count from 1. */
export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** An error of a template. Switch on `code`. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError'
  readonly code: TemplateErrorCode
  readonly file: string
  readonly line: number
  readonly column: number

  constructor(code: TemplateErrorCode, { file, line, column }: Place, what: string, options?: ErrorOptions) {
    super(`${file}:${line}:${column}: ${what}`.replace(/[\p{Cc}\u2028\u2029]+/gu, ' '), options)
    this.code = code
    this.file = file
    this.line = line
    this.column = column
  }
}
