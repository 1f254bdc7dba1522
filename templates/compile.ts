/**
 * Templates, ready to render: the engine's public side.
 *
 * `compileTemplate` refuses a faulty template; `render` renders the page, and only then, if all of it rendered, hands the
 * messages of its sendmail blocks to their mail hosts, in order. All mail hosts are found before the first message is sent.
 */
import { TemplateError } from './errors.ts'
import type { Locale } from './formats.ts'
import { findFile, type MailHost, type Multipart, mailHostFor, type SendOptions, type Smarthost } from './mail-host.ts'
import { withFiles } from './mime.ts'
import { escapeHtml, mailOutput, pageOutput } from './output.ts'
import { parseTemplate } from './parse.ts'
import { render, type Template } from './render.ts'
import { type MailMessage, type PendingMail, readMail, SENDMAIL } from './sendmail.ts'

export type ContentType = 'text/html' | 'text/plain'

export interface PartialSource {
  readonly source: string
  /** Its name in errors: a file or path. */
  readonly name: string
}

export interface CompileOptions {
  /** The template's name in errors: a file or path. */
  readonly name?: string
  /** What the page is; values are escaped for it. text/html by default. */
  readonly contentType?: ContentType
  /** Finds the source of a partial by its name. */
  readonly partial?: (name: string) => PartialSource | undefined
}

export interface RenderOptions extends Locale {
  /** The object in the tree that the page stands at; mail hosts are looked up from there. */
  readonly context?: object
  /** Makes the mail host of a sendmail block that names an SMTP server (`smtphost`); without it none may. */
  readonly smarthost?: Smarthost
  /** Takes each message over in the place of its mail host's `send`; for previews. */
  readonly deliver?: (host: MailHost, message: MailMessage, options: SendOptions) => Promise<unknown>
}

export interface CompiledTemplate {
  /**
   * Renders the page and sends its mail.
   * @param data own properties are what the template sees; promises among them are awaited
   * @throws {TemplateError} TEMPLATE_RENDER, TEMPLATE_SYNTAX (in a partial), NO_PARTIAL, NO_MAIL_HOST, MAIL_REFUSED, and
   *   whatever a mail host throws for reasons of its own
   */
  render(data: Record<string, unknown>, options?: RenderOptions): Promise<string>
  /**
   * Renders the template as a message, as if it were the inside of a sendmail block: headers, blank line, body. Nothing is sent.
   * @throws {TemplateError} TEMPLATE_RENDER, TEMPLATE_SYNTAX (in a partial), NO_PARTIAL, NO_FILE
   */
  message(data: Record<string, unknown>, options?: Omit<RenderOptions, 'deliver' | 'smarthost'>): Promise<MailMessage>
}

/** Refuses a source that is no template. @throws {TemplateError} TEMPLATE_SYNTAX, NO_MAIL_HOST */
export function checkTemplate(source: string, name: string): void {
  parseTemplate(source, name)
}

/**
 * Sources are parsed once and the result is kept, for all callers; so this costs next to nothing for one that was used lately.
 * @throws {TemplateError} TEMPLATE_SYNTAX, NO_MAIL_HOST (a sendmail block that names none)
 */
export function compileTemplate(
  source: string,
  { name = 'template', contentType = 'text/html', partial }: CompileOptions = {},
): CompiledTemplate {
  const template = { file: name, program: parseTemplate(source, name) }
  const partials = (wanted: string): Template | undefined => {
    const found = partial?.(wanted)
    return found && { file: found.name, program: parseTemplate(found.source, found.name) }
  }
  const output = () => pageOutput(contentType === 'text/html' ? escapeHtml : text => text)
  return {
    async render(data, { context, smarthost, deliver = send, ...locale } = {}) {
      const { output: page, mails } = await render(template, data, partials, output, locale)
      await hand(mails, { context, smarthost }, deliver)
      return page.parts.join('')
    },
    async message(data, { context, ...locale } = {}) {
      const { output: mail } = await render(template, data, partials, mailOutput, locale, SENDMAIL)
      const place = { file: name, line: 1, column: 1 }
      return withAttachments(readMail({ parts: mail.parts, place }, contentType), context)
    },
  }
}

/** The message with the files of the tree in the place of their names. */
function withAttachments(message: MailMessage, context: object | undefined): MailMessage {
  if (typeof message.body === 'string') return message
  const body = withFiles(message.body, ({ name, place }) => findFile(name, context, place))
  return { ...message, body: body as Multipart }
}

const send: NonNullable<RenderOptions['deliver']> = (host, message, options) => host.send(message, options)

async function hand(
  mails: readonly PendingMail[],
  around: { readonly context: object | undefined; readonly smarthost: Smarthost | undefined },
  deliver: NonNullable<RenderOptions['deliver']>,
): Promise<void> {
  const ready = mails.map(mail => ({
    mail,
    host: mailHostFor(mail.host, around, mail.place),
    message: withAttachments(readMail(mail), around.context),
  }))
  for (const { mail, message, host } of ready) {
    try {
      await deliver(host, message, mail.options)
    } catch (cause) {
      if (!(cause instanceof Error) || !isRefusal(cause)) throw cause
      throw new TemplateError('MAIL_REFUSED', mail.place, `sendmail: ${cause.message}`, { cause })
    }
  }
}

/** Whether an error is about the message or its options, and not about the mail host. */
function isRefusal(error: Error): boolean {
  return error.name === 'ComposeError' || ('code' in error && error.code === 'INVALID_ARGUMENT')
}
