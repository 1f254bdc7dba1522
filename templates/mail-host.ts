/**
 * The mail host of a sendmail block: what it must be, and how it is found.
 *
 * A name is acquired from the object that the page stands at, outward to the root, nearest first; a value with a `/`
 * is a path from that object, or from the root. Whatever else is found there is refused, and the error says what it was.
 */
import { ObjectError } from '../lib/errors.ts'
import { acquire, physicalPath, traverse } from '../lib/traversal.ts'
import { type Place, TemplateError, type TemplateErrorCode } from './errors.ts'

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
  /** The message is sent only if none was sent under this key before. */
  key?: string
}

/** A part of a message: parts in parts, a text, or data that the mail host can read (text, bytes, what it knows of the tree). */
export type Entity =
  | Multipart
  | (Leaf & { kind: 'text'; text: string; alternative?: boolean })
  | (Leaf & { kind: 'data'; data: unknown })

export interface Multipart {
  kind: 'multipart'
  subtype: (typeof MULTIPARTS)[number]
  parts: Entity[]
}

interface Leaf {
  type?: string
  disposition?: (typeof DISPOSITIONS)[number]
  filename?: string
  contentId?: string
  description?: string
  /** Of text. */
  charset?: string
  encode?: SendOptions['encode']
}

export const MULTIPARTS = ['mixed', 'alternative', 'related'] as const
export const DISPOSITIONS = ['inline', 'attachment'] as const

/** An SMTP server that a block names in the place of a mail host. */
export class Server {
  readonly host: string
  readonly port: number

  constructor(host: string, port: number) {
    this.host = host
    this.port = port
  }
}

/** Makes the mail host for a server; throws for one that may not be used. */
export type Smarthost = (context: object | undefined, server: Server) => MailHost

/** The mail host of a block, by its name or its server. @throws {TemplateError} NO_MAIL_HOST */
export function mailHostFor(
  named: unknown,
  { context, smarthost }: { readonly context?: object | undefined; readonly smarthost?: Smarthost | undefined },
  place: Place,
): MailHost {
  if (!(named instanceof Server)) return findMailHost(named, context, place)
  try {
    if (smarthost !== undefined) return smarthost(context, named)
  } catch (cause) {
    throw new TemplateError('NO_MAIL_HOST', place, `sendmail: ${(cause as Error).message}`, { cause })
  }
  throw new TemplateError('NO_MAIL_HOST', place, "sendmail: smtphost needs the option 'smarthost' of render")
}

/** @throws {TemplateError} NO_MAIL_HOST */
function findMailHost(name: unknown, context: object | undefined, place: Place): MailHost {
  const found = find(name, context, { what: 'a mail host', code: 'NO_MAIL_HOST', place })
  if (isMailHost(found)) return found
  throw new TemplateError('NO_MAIL_HOST', place, `expected a mail host at '${name}', found ${describe(found)}`)
}

/** The object of the tree that is to be attached; whether it can be, the mail host knows. @throws {TemplateError} NO_FILE */
export function findFile(name: unknown, context: object | undefined, place: Place): unknown {
  return find(name, context, { what: 'a file', code: 'NO_FILE', place })
}

function find(
  name: unknown,
  context: object | undefined,
  { what, code, place }: { what: string; code: TemplateErrorCode; place: Place },
): unknown {
  const refuse = (text: string, cause?: unknown) =>
    new TemplateError(code, place, text, cause === undefined ? {} : { cause })
  if (typeof name !== 'string' || name === '')
    throw refuse(
      `expected the name or path of ${what}, found ${name === '' ? 'an empty text' : name === null ? 'null' : typeof name}`,
    )
  if (context === undefined)
    throw refuse(
      `${what.replace(/^a /, '')} '${name}' cannot be looked up: the page was rendered without a place in the tree (option 'context')`,
    )
  try {
    return name.includes('/') ? traverse(context, name) : acquire(context, name)
  } catch (cause) {
    if (!(cause instanceof ObjectError && cause.code === 'NOT_FOUND')) throw cause
    throw refuse(`no ${what.replace(/^a /, '')}: ${cause.message}`, cause)
  }
}

function isMailHost(found: unknown): found is MailHost {
  return typeof found === 'object' && found !== null && 'isMailHost' in found && found.isMailHost === true
}

function describe(found: unknown): string {
  if (typeof found !== 'object' || found === null) return found === null ? 'null' : `a ${typeof found}`
  return `a ${found.constructor?.name ?? 'nameless object'} (${physicalPath(found)})`
}
