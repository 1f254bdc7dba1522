/**
 * MaildropHost: the object in the tree through which pages send mail.
 *
 * `send` takes part in the transaction of the tree that the host belongs to: the message is composed and checked at once, and published in
 * the spool, for the daemon to deliver, if and only if that transaction commits.
 */
import { acquire, type Connection, ObjectError, Persistent, parents, registerClass, traverse } from '../lib/index.ts'
import { type ComposedMessage, composeMessage } from '../maildrop/compose/index.ts'
import {
  ensureSpool,
  formatMailFile,
  type MaildropConfig,
  newMailId,
  type QueuedMail,
  readLogTail,
  submit,
} from '../maildrop/index.ts'
import type { MailHost } from '../templates/index.ts'
import { type Message, withContents } from './attachments.ts'
import { MailDelivery } from './mail-delivery.ts'
import { listMail, type MailStatus, nameMail, statusOfMail } from './mail-status.ts'
import { mailSystemOf } from './mail-system.ts'
import type { OutgoingMail } from './outgoing-mail.ts'
import { dateOf, type Properties } from './properties.ts'
import { Template, type TemplateOptions } from './template.ts'

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
  /** Not to be sent before: a Date, or ISO 8601 with a zone. A time in the past means at once. */
  readonly sendAt?: Date | string
}

/** Those of `send`, and what the template is rendered with. */
export type SendTemplateOptions = SendOptions & Omit<TemplateOptions, 'deliver'>

const OPTIONS = new Set(['to', 'from', 'subject', 'encode', 'charset', 'type', 'alternative', 'sendAt'])

const MAX_LOG = 64 * 1024 * 1024

export class MaildropHost extends Persistent implements MailHost {
  static properties: Properties = {
    title: { type: 'string', description: 'what people call it' },
    transactional: {
      type: 'boolean',
      description: 'whether mail waits for the transaction to commit; if false it is published at once',
    },
    configPath: {
      type: 'choice',
      choices: host => ['', ...mailSystemOf((host as MaildropHost).connection().database).configKeys],
      description: 'key of the configuration of the maildrop that it uses; empty for the usual one',
    },
  }

  title: string
  transactional: boolean
  /** A key, never a path: what keys there are is said when the database is opened. */
  configPath: string

  constructor({
    title = '',
    transactional = true,
    configPath = '',
  }: { title?: string; transactional?: boolean; configPath?: string } = {}) {
    super()
    this.title = title
    this.transactional = transactional
    this.configPath = configPath
  }

  get isMailHost(): true {
    return true
  }

  /**
   * Sends a message.
   *
   * @param message RFC 5322 text (headers, blank line, body), or nodemailer's message object
   * @returns the Message-ID, once the message is composed; it leaves when the transaction has committed
   * @throws {MaildropError} BAD_ADDRESS, NO_RECIPIENTS, NO_SENDER and others about the message;
   *   {ObjectError} NOT_CONNECTED if the host is in no tree, INVALID_ARGUMENT for an unknown option
   */
  async send(message: Message, options: SendOptions = {}): Promise<string> {
    const notBefore = checkOptions(options)
    const { database, transaction } = this.connection()
    const { publisher } = mailSystemOf(database)
    const spool = this.config().spools[0]
    const newId = newMailId()
    const delivery = this.transactional ? MailDelivery.of(transaction, publisher) : undefined
    const composed = compose(message, options, `${newId}-${database.id}`)
    const mail = composed.then(({ messageId, envelope, content }): OutgoingMail => {
      const id = nameMail(newId, messageId, database.id)
      return { id, spool, bytes: formatMailFile({ id, ...envelope, notBefore }, content) }
    })
    delivery?.add(mail)
    const { id, bytes } = await mail
    if (delivery === undefined) {
      await ensureSpool(spool)
      await submit(spool, id, bytes!)
    }
    return (await composed).messageId
  }

  /** Composes a message as `send` does, and sends nothing. @throws as `send` */
  async compose(message: Message, options: SendOptions = {}): Promise<ComposedMessage> {
    checkOptions(options)
    return await compose(message, options, `${newMailId()}-${this.connection().database.id}`)
  }

  /** Sends a plain text. @returns the Message-ID; see `send` */
  simpleSend(to: string | readonly string[], from: string, subject: string, body: string): Promise<string> {
    return this.send({ text: body }, { to, from, subject })
  }

  /** Sends a message at the time `sendAt`, and not before. @returns the Message-ID; see `send` */
  async scheduledSend(message: Message, options: SendOptions & { readonly sendAt: Date | string }): Promise<string> {
    if (options?.sendAt === undefined)
      throw new ObjectError('INVALID_ARGUMENT', 'scheduledSend: expected the option sendAt, the time to send at')
    return this.send(message, options)
  }

  /**
   * Sends what a template renders to: headers at its top, a blank line, the body, as in a sendmail block, and as safe: the template's own
   * text says where a header begins and ends. HTML (the template's content type, or the option `type`) is given a plain text beside it.
   *
   * @param template a template, or its name (acquired from the host outward) or path
   * @param data what the template sees
   * @param options those of `send`; and `context`, `locale`, `timeZone`, `baseUrl` as for the template's `render`
   * @returns the Message-ID; see `send`
   * @throws {TemplateError} what rendering throws; {ObjectError} NOT_FOUND, WRONG_TYPE; what `send` throws
   */
  async sendTemplate(
    template: Template | string,
    data: Record<string, unknown> = {},
    options: SendTemplateOptions = {},
  ): Promise<string> {
    const { context, locale, timeZone, baseUrl, ...sending } = options
    const found = this.template(template)
    const { type = found.contentType } = sending
    const contentType = type.toLowerCase() === 'text/html' ? 'text/html' : 'text/plain'
    const rendering = Object.entries({ context, locale, timeZone, baseUrl }).filter(([, value]) => value !== undefined)
    const message = await found.message(data, { ...Object.fromEntries(rendering), contentType })
    const declares = message.headerParts.some(({ name }) => /^content-type$/i.test(name))
    const isPart = typeof message.body !== 'string' || declares
    return this.send(message as Message, { alternative: true, ...(isPart ? {} : { type }), ...sending })
  }

  /**
   * The end of the daemon's log: whole lines, the last ones.
   * @param options most bytes to return, up to 64 MiB
   * @throws {ObjectError} INVALID_ARGUMENT; {MaildropError} SPOOL_DENIED, SPOOL_FAILED
   */
  async log({ bytes = 16_384 }: { readonly bytes?: number } = {}): Promise<string> {
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_LOG)
      throw new ObjectError('INVALID_ARGUMENT', `log: expected bytes from 1 to ${MAX_LOG}, found ${String(bytes)}`)
    return await readLogTail(this.config().logFile, bytes)
  }

  /** What is in the host's spools, its own messages and others. @throws {MaildropError} */
  queue(): Promise<QueuedMail[]> {
    return listMail(this.config().spools)
  }

  /**
   * Where a message is.
   * @param messageId as `send` returned it
   * @returns 'publishing' between the commit and the spool; 'unknown' for a message that is neither: it was delivered, or there never
   *   was one; otherwise as `queue` tells it
   */
  status(messageId: string): Promise<MailStatus> {
    return statusOfMail(this.connection().database, this.config().spools, messageId)
  }

  /** Where the host's mail goes: absolute paths, and the server that the daemon delivers to. */
  settings(): { spool: string; home: string; configuration: string; server: string } {
    const { spools, home, file, smtp } = this.config()
    return { spool: spools[0], home, configuration: file, server: `${smtp.host}:${smtp.port}` }
  }

  private template(named: unknown): Template {
    const found = typeof named !== 'string' ? named : named.includes('/') ? traverse(this, named) : acquire(this, named)
    if (found instanceof Template) return found
    const what = found instanceof Persistent ? `a ${found.constructor.name} (${found.physicalPath})` : typeof found
    throw new ObjectError('WRONG_TYPE', `sendTemplate: expected a Template, its name or its path, found ${what}`)
  }

  private config(): MaildropConfig {
    // Hosts of before there was a choice have no such attribute.
    return mailSystemOf(this.connection().database).config(this.configPath || '')
  }

  /** The connection of the tree that the host is in; a new host may not have been given its own yet. */
  private connection(): Connection {
    for (const object of [this, ...parents(this)] as Persistent[]) {
      if (object._p_jar !== undefined) return object._p_jar as Connection
    }
    throw new ObjectError(
      'NOT_CONNECTED',
      'the mail host is in no database; add it to the tree, and send in a transaction',
    )
  }
}

/** @returns when the message is to be sent, if that is not now */
function checkOptions(options: SendOptions): Date | undefined {
  const unknown = Object.keys(options).find(key => !OPTIONS.has(key))
  if (unknown !== undefined)
    throw new ObjectError('INVALID_ARGUMENT', `send takes no option '${unknown}'; it takes ${[...OPTIONS].join(', ')}`)
  return options.sendAt === undefined ? undefined : laterTime(options.sendAt)
}

async function compose(message: Message, options: SendOptions, id: string): Promise<ComposedMessage> {
  return await composeMessage(await withContents(message), { ...options, id })
}

/** @returns undefined if that is not later than now */
function laterTime(sendAt: Date | string): Date | undefined {
  const time = typeof sendAt === 'string' ? dateOf(sendAt.trim()) : sendAt
  const isTime = time instanceof Date && !Number.isNaN(time.getTime()) && time.getUTCFullYear() <= 9999
  if (!isTime)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `sendAt: expected a Date up to the year 9999, or a time with its zone like 2026-12-24T18:00:00+01:00, found ${JSON.stringify(sendAt) ?? String(sendAt)}`,
    )
  return time.getTime() > Date.now() ? time : undefined
}

registerClass('MaildropHost', MaildropHost)
