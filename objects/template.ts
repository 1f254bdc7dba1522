/** Template: a page in the tree. Its partials and mail hosts are acquired from where it stands. */
import { acquire, ObjectError, Persistent, registerClass } from '../lib/index.ts'
import { type CompiledTemplate, compileTemplate } from '../templates/index.ts'
import type { Properties } from './properties.ts'

export type ContentType = 'text/html' | 'text/plain'

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
  source: string
  contentType: ContentType
  declare private _v_compiled: { source: string; contentType: string; template: CompiledTemplate } | undefined

  constructor(
    source = '',
    { contentType = 'text/html', title = '' }: { contentType?: ContentType; title?: string } = {},
  ) {
    super()
    this.source = source
    this.contentType = contentType
    this.title = title
  }

  /**
   * Renders the page. Mail that it sends takes part in the running transaction.
   * @param options.context the object from which mail hosts and partials are acquired; by default the template itself
   * @throws {TemplateError} with file (the template's path), line and column; whatever sending throws
   */
  render(data: Record<string, unknown> = {}, options: { readonly context?: Persistent } = {}): Promise<string> {
    const { context = this } = options
    return this.compiled(context).render(data, { context })
  }

  private compiled(context: Persistent): CompiledTemplate {
    const { source, contentType } = this
    const compile = () =>
      compileTemplate(source, { name: this.physicalPath, contentType, partial: name => partial(context, name) })
    if (context !== this) return compile()
    if (this._v_compiled?.source !== source || this._v_compiled.contentType !== contentType)
      this._v_compiled = { source, contentType, template: compile() }
    return this._v_compiled.template
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
