/** Errors on their way through a socket: code and message. */
import { ERROR_CODES, type ErrorCode, ObjectError } from '../objects/index.ts'
import { WrongUsage } from './wrong-usage.ts'

export interface Failure {
  readonly code?: string | undefined
  readonly message: string
  readonly usage?: boolean | undefined
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { message: String(error) }
  const { code } = error as { code?: unknown }
  return {
    ...(typeof code === 'string' && { code }),
    message: error.message,
    ...(error instanceof WrongUsage && { usage: true }),
  }
}

/** The error that it was. */
export function errorOf({ code, message, usage }: Failure): Error {
  if (usage) return new WrongUsage(message)
  if (code !== undefined && Object.hasOwn(ERROR_CODES, code)) return new ObjectError(code as ErrorCode, message)
  return Object.assign(new Error(message), code !== undefined && { code })
}
