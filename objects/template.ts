/**
 * Template: a page in the tree. Its partials and mail hosts are acquired from where it stands.
 *
 * A source that is no template is refused when it is set, so whatever is stored can be parsed. Its history is the database's.
 */
import { acquire, checkOptions, ObjectError, Persistent, registerClass, SOUND, type StateRecord } from '../lib/index.ts'
import {
  type CompiledTemplate,
  checkTemplate,
  compileTemplate,
  type MailMessage,
  type RenderOptions,
} from '../templates/index.ts'
import type { Properties } from './properties.ts'
import { smarthost } from './smarthost.ts'

export type ContentType = 'text/html' | 'text/plain'

export interface TemplateOptions extends RenderOptions {
  readonly context?: Persistent
}

export interface TemplateMessageOptions extends Omit<TemplateOptions, 'deliver' | 'smarthost'> {
  readonly contentType?: ContentType
}

/** A page or mail of the tree: its source, and how it is rendered. */
export class Template extends Persistent {
  static properties: Properties = {
    title: { type: 'string', description: 'what people call it' },
    source: { type: 'string', description: 'the text of the template' },
    contentType: {
      type: 'choice',
      choices: ['text/html', 'text/plain'],
      description: 'what it renders to; values are escaped for HTML',
    },
  }

  title = ''
  contentType: ContentType
  private __source__ = ''

  /** @throws {TemplateError} as setting `source` does */
  constructor(source = '', options: { contentType?: ContentType; title?: string } = {}) {
    super()
    const { contentType = 'text/html', title = '' } = checkOptions('Template', options)
    this.source = source
    this.contentType = contentType
    this.title = title
  }

  get source(): string {
    return this.__source__
  }

  [SOUND]({ __source__ }: StateRecord): boolean {
    return typeof __source__ === 'string'
  }

  /** @throws {TemplateError} TEMPLATE_SYNTAX, NO_MAIL_HOST, at its line and column: what is wrong is not stored */
  set source(source: string) {
    if (typeof source !== 'string')
      throw new ObjectError('INVALID_ARGUMENT', `the source of a template must be a text, found ${typeof source}`)
    checkTemplate(source, this.__name__ === undefined ? 'template' : this.physicalPath)
    this.__source__ = source
  }

  /**
   * Renders the page. Mail that it sends takes part in the running transaction.
   * @param options context: the object from which mail hosts and partials are acquired, by default the template itself;
   *   locale, timeZone and baseUrl: what the helpers use where the template does not say
   * @throws {TemplateError} with file (the template's path), line and column; whatever sending throws
   */
  async render(data: Record<string, unknown> = {}, options: TemplateOptions = {}): Promise<string> {
    const { context = this } = checkOptions('render', options)
    return this.compiled(context, this.contentType).render(data, { smarthost, ...options, context })
  }

  /**
   * Renders the template as a message: its headers, a blank line, its body; see `sendTemplate` of the mail host. Nothing is sent.
   * @param options as for `render`; contentType: what the body is, by default the template's own
   * @throws {TemplateError} as `render`
   */
  async message(data: Record<string, unknown> = {}, options: TemplateMessageOptions = {}): Promise<MailMessage> {
    const { context = this, contentType = this.contentType, ...others } = options
    return this.compiled(context, contentType).message(data, { ...others, context })
  }

  private compiled(context: Persistent, contentType: ContentType): CompiledTemplate {
    const find = (partialName: string) => partial(context, partialName)
    return compileTemplate(this.source, { name: this.physicalPath, contentType, partial: find })
  }
}

function partial(context: Persistent, name: string): { source: string; name: string } | undefined {
  try {
    const found = acquire(context, name)
    return found instanceof Template ? { source: found.source, name: found.physicalPath } : undefined
  } catch (error) {
    if (error instanceof ObjectError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

registerClass('Template', Template)
