/**
 * The mail host of a sendmail block: what it must be, and how it is found.
 *
 * A name is acquired from the object that the page stands at, outward to the root, nearest first; a value with a `/`
 * is a path from that object, or from the root. Whatever else is found there is refused, and the error says what it was.
 */
import { ObjectError } from '../lib/errors.ts'
import { acquire, type Located, physicalPath, traverse } from '../lib/traversal.ts'
import { type Place, TemplateError } from './errors.ts'

/** What a sendmail block sends through. */
export interface MailHost {
  readonly isMailHost: true
  /**
   * Takes a message over; it leaves if and only if the transaction commits.
   * @returns its Message-ID
   * @throws an error named `ComposeError` if the message itself is at fault: it is reported at the block's place
   */
  send(message: string | Uint8Array | object, options?: SendOptions): Promise<string>
}

export const ENCODINGS = ['base64', 'quoted-printable', '7bit', '8bit'] as const

export interface SendOptions {
  /** Text is a list with commas; in an array, each entry is one address. */
  to?: string | string[]
  from?: string
  subject?: string
  encode?: (typeof ENCODINGS)[number]
  type?: string
  charset?: string
}

/** @throws {TemplateError} NO_MAIL_HOST */
export function findMailHost(name: unknown, context: object | undefined, place: Place): MailHost {
  if (typeof name !== 'string' || name === '')
    throw new TemplateError(
      'NO_MAIL_HOST',
      place,
      `expected the name or path of a mail host, found ${name === '' ? 'an empty text' : name === null ? 'null' : typeof name}`,
    )
  if (context === undefined)
    throw new TemplateError(
      'NO_MAIL_HOST',
      place,
      `mail host '${name}' cannot be looked up: the page was rendered without a place in the tree (option 'context')`,
    )
  const found = lookUp(name, context, place)
  if (isMailHost(found)) return found
  throw new TemplateError('NO_MAIL_HOST', place, `expected a mail host at '${name}', found ${describe(found)}`)
}

function lookUp(name: string, context: Located, place: Place): unknown {
  try {
    return name.includes('/') ? traverse(context, name) : acquire(context, name)
  } catch (cause) {
    if (!(cause instanceof ObjectError && cause.code === 'NOT_FOUND')) throw cause
    throw new TemplateError('NO_MAIL_HOST', place, `no mail host: ${cause.message}`, { cause })
  }
}

function isMailHost(found: unknown): found is MailHost {
  return typeof found === 'object' && found !== null && 'isMailHost' in found && found.isMailHost === true
}

function describe(found: unknown): string {
  if (typeof found !== 'object' || found === null) return found === null ? 'null' : `a ${typeof found}`
  return `a ${found.constructor?.name ?? 'nameless object'} (${physicalPath(found)})`
}
