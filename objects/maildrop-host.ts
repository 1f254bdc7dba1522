/**
 * MaildropHost: the object in the tree through which pages send mail.
 *
 * `send` takes part in the transaction of the tree that the host belongs to: the message is composed and checked at once, and published in
 * the spool, for the daemon to deliver, if and only if that transaction commits.
 */
import { type Connection, ObjectError, Persistent, parents, registerClass } from '../lib/index.ts'
import { type ComposedMessage, composeMessage } from '../maildrop/compose/index.ts'
import { ensureSpool, formatMailFile, newMailId, submit } from '../maildrop/index.ts'
import type { MailHost } from '../templates/index.ts'
import { type Message, withContents } from './attachments.ts'
import { MailDelivery } from './mail-delivery.ts'
import { mailSystemOf } from './mail-system.ts'
import type { OutgoingMail } from './outgoing-mail.ts'
import type { Properties } from './properties.ts'

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
}

const OPTIONS = new Set(['to', 'from', 'subject', 'encode', 'charset', 'type'])

export class MaildropHost extends Persistent implements MailHost {
  static properties: Properties = {
    title: { type: 'string', description: 'what people call it' },
    transactional: {
      type: 'boolean',
      description: 'whether mail waits for the transaction to commit; if false it is published at once',
    },
  }

  title: string
  transactional: boolean

  constructor({ title = '', transactional = true }: { title?: string; transactional?: boolean } = {}) {
    super()
    this.title = title
    this.transactional = transactional
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
    checkOptions(options)
    const { database, transaction } = this.connection()
    const { publisher, config } = mailSystemOf(database)
    const spool = config().spools[0]
    const id = `${newMailId()}-${database.id}`
    const delivery = this.transactional ? MailDelivery.of(transaction, publisher) : undefined
    const composed = compose(message, options, id)
    const mail = composed.then(
      ({ envelope, content }): OutgoingMail => ({ id, spool, bytes: formatMailFile({ id, ...envelope }, content) }),
    )
    delivery?.add(mail)
    const { bytes } = await mail
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

  /** Where the host's mail goes: absolute paths, and the server that the daemon delivers to. */
  settings(): { spool: string; home: string; configuration: string; server: string } {
    const { spools, home, file, smtp } = mailSystemOf(this.connection().database).config()
    return { spool: spools[0], home, configuration: file, server: `${smtp.host}:${smtp.port}` }
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

function checkOptions(options: SendOptions): void {
  const unknown = Object.keys(options).find(key => !OPTIONS.has(key))
  if (unknown !== undefined)
    throw new ObjectError('INVALID_ARGUMENT', `send takes no option '${unknown}'; it takes ${[...OPTIONS].join(', ')}`)
}

async function compose(message: Message, options: SendOptions, id: string): Promise<ComposedMessage> {
  return await composeMessage(await withContents(message), { ...options, id })
}

registerClass('MaildropHost', MaildropHost)
