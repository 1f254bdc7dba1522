/**
 * Arguments of public functions, checked: who calls from JavaScript, or passes on what came from elsewhere, is told what was expected
 * (INVALID_ARGUMENT), and nothing has happened.
 */
import { inspect } from 'node:util'
import { ObjectError } from './errors.ts'

/** The error for `what` (`operation: name`, or a description) that is something else than `wanted`. */
export function unexpected(what: string, wanted: string, found: unknown): ObjectError {
  return new ObjectError('INVALID_ARGUMENT', `${what}: expected ${wanted}, found ${shown(found)}`)
}

/** A value in a few words. */
export function shown(value: unknown): string {
  return inspect(value, { depth: 0, maxStringLength: 80, maxArrayLength: 3, breakLength: Number.POSITIVE_INFINITY })
}

/** @throws {ObjectError} INVALID_ARGUMENT unless it is an object that can hold options */
export function checkOptions<T extends object>(operation: string, options: T): T {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return options
  throw unexpected(operation, 'an object with options', options)
}

/** @throws {ObjectError} INVALID_ARGUMENT unless it is a function */
export function checkFunction<F>(what: string, value: F): F {
  if (typeof value === 'function') return value
  throw unexpected(what, 'a function', value)
}

/** @throws {ObjectError} INVALID_ARGUMENT unless it is a function, or left out */
export const checkProgress = <F>(operation: string, progress: F): F =>
  progress === undefined ? progress : checkFunction(`${operation}: progress`, progress)

/** @throws {ObjectError} INVALID_ARGUMENT unless it is a text that is not empty */
export function checkText(what: string, value: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw unexpected(what, 'a text', value)
}

/** @throws {ObjectError} INVALID_ARGUMENT unless it can be iterated */
export function checkIterable<I extends Iterable<unknown>>(what: string, value: I): I {
  if (value !== null && value !== undefined && typeof value[Symbol.iterator] === 'function') return value
  throw unexpected(what, 'an array, or what can be iterated', value)
}

/** @throws {ObjectError} INVALID_ARGUMENT unless it is an AbortSignal, or left out */
export function checkSignal(operation: string, signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal
  throw unexpected(`${operation}: signal`, 'an AbortSignal', signal)
}
