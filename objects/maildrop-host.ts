/**
 * MaildropHost: the object in the tree through which pages send mail.
 *
 * `send` takes part in the transaction of the tree that the host belongs to: the message is composed and checked at once, and published in
 * the spool, for the daemon to deliver, if and only if that transaction commits.
 */
import { acquire, checkOptions, ObjectError, Persistent, registerClass, traverse, unexpected } from '../lib/index.ts'
import type { ComposedMessage } from '../maildrop/compose/index.ts'
import { type MaildropConfig, type QueuedMail, readLogTail } from '../maildrop/index.ts'
import type { MailHost } from '../templates/index.ts'
import type { Message } from './attachments.ts'
import { listMail, type MailStatus, statusOfMail } from './mail-status.ts'
import { mailSystemOf } from './mail-system.ts'
import { numberOf, type Properties } from './properties.ts'
import type { SendOptions } from './send-options.ts'
import { composeFrom, connectionOf, type Sender, sendFrom } from './sending.ts'
import { Template, type TemplateOptions } from './template.ts'

/** Those of `send`, and what the template is rendered with. */
export type SendTemplateOptions = SendOptions & Omit<TemplateOptions, 'deliver' | 'smarthost'>

const MAX_LOG = 64 * 1024 * 1024

/** Sends mail in the transaction of the tree that it is in: what it is given leaves if and only if that commits. */
export class MaildropHost extends Persistent implements MailHost {
  static properties: Properties = {
    title: { type: 'string', description: 'what people call it' },
    transactional: {
      type: 'boolean',
      description: 'whether mail waits for the transaction to commit; if false it is published at once',
    },
    configPath: {
      type: 'choice',
      choices: host => ['', ...mailSystemOf(connectionOf(host).database).configKeys],
      description: 'key of the configuration of the maildrop that it uses; empty for the usual one',
    },
    keyAge: {
      type: 'integer',
      range: [1, 36_500],
      description: 'days for which the key of a message is remembered, so that it is sent only once',
    },
    maxRecipients: {
      type: 'integer',
      range: [0, 100_000],
      description: 'most recipients of a message; 0 is no limit',
    },
    maxSize: {
      type: 'integer',
      range: [0, 2 ** 40],
      description: 'most bytes of a message as it is sent, attachments encoded; 0 is no limit',
    },
  }

  title: string
  transactional: boolean
  /** A key, never a path: what keys there are is said when the database is opened. */
  configPath: string

  /** Days. */
  keyAge: number
  maxRecipients: number
  /** Bytes. */
  maxSize: number

  constructor(settings: Partial<typeof DEFAULTS> = {}) {
    super()
    const all = { ...DEFAULTS, ...checkOptions('MaildropHost', settings) }
    this.title = all.title
    this.transactional = all.transactional
    this.configPath = all.configPath
    this.keyAge = all.keyAge
    this.maxRecipients = all.maxRecipients
    this.maxSize = all.maxSize
  }

  get isMailHost(): true {
    return true
  }

  /**
   * Sends a message.
   *
   * @param message RFC 5322 text (headers, blank line, body), or nodemailer's message object
   * @returns the Message-ID, once the message is composed; it leaves when the transaction has committed (with `immediate` it has left)
   * @throws {ComposeError} BAD_ADDRESS, NO_RECIPIENTS, NO_SENDER, TOO_LARGE and others about the message; {MaildropError} of the configuration;
   *   {MaildropError} NOT_DELIVERED with `immediate`; {ObjectError} NOT_CONNECTED if the host is in no tree, INVALID_ARGUMENT for a wrong option
   */
  async send(message: Message, options: SendOptions = {}): Promise<string> {
    return await sendFrom(this.sender(), message, options)
  }

  /** Composes a message as `send` does, and sends nothing. @throws as `send` */
  async compose(message: Message, options: SendOptions = {}): Promise<ComposedMessage> {
    return await composeFrom(this.sender(), message, options)
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
    const { context, locale, timeZone, baseUrl, ...sending } = checkOptions('sendTemplate', options)
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
  async log(options: { readonly bytes?: number } = {}): Promise<string> {
    const { bytes = 16_384 } = checkOptions('log', options)
    if (!Number.isInteger(bytes) || bytes < 1 || bytes > MAX_LOG)
      throw unexpected('log', `bytes from 1 to ${MAX_LOG}`, bytes)
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
  async status(messageId: string): Promise<MailStatus> {
    if (typeof messageId !== 'string') throw unexpected('status', 'the id of a message', messageId)
    return statusOfMail(connectionOf(this).database, this.config().spools, messageId)
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

  private sender(): Sender {
    const connection = connectionOf(this)
    const config = this.config()
    return {
      connection,
      config,
      spool: config.spools[0],
      transactional: this.transactional,
      maxRecipients: numberOf(this, 'maxRecipients') || undefined,
      maxSize: numberOf(this, 'maxSize') || undefined,
      keyAge: numberOf(this, 'keyAge'),
      keyOwner: () => connection.add(this),
      name: () => this.physicalPath,
    }
  }

  private config(): MaildropConfig {
    return mailSystemOf(connectionOf(this).database).config(this.configPath)
  }
}

const DEFAULTS = { title: '', transactional: true, configPath: '', keyAge: 7, maxRecipients: 0, maxSize: 0 }

registerClass('MaildropHost', MaildropHost, { version: 2, upgrade: state => ({ ...DEFAULTS, ...state }) })
