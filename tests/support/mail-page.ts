/** Pages that send mail, rendered without a database: a tree of plain containers and a mail host that composes and keeps. */
import { type ParsedMail, simpleParser } from 'mailparser'
import { composeMessage, type MessageInput } from '../../maildrop/compose/index.ts'
import { type CompileOptions, compileTemplate, type MailHost, type SendOptions } from '../../templates/index.ts'

export interface SentMail {
  /** The mail host's path. */
  readonly host: string
  readonly envelope: { readonly from: string; readonly to: string[] }
  readonly content: Buffer
}

/** A container, as `lib/traversal.ts` knows it. */
export class Place {
  readonly isContainer = true
  __parent__?: Place
  __name__?: string
  readonly #children = new Map<string, object>()

  add<T extends { __parent__?: Place; __name__?: string }>(name: string, child: T): T {
    this.#children.set(name, Object.assign(child, { __parent__: this, __name__: name }))
    return child
  }

  get(name: string): object | undefined {
    return this.#children.get(name)
  }
}

class Host implements MailHost {
  readonly isMailHost = true
  readonly #sent: SentMail[]
  declare __parent__?: Place
  declare __name__?: string

  constructor(sent: SentMail[]) {
    this.#sent = sent
  }

  async send(message: string | Uint8Array | object, options: SendOptions = {}): Promise<string> {
    const { messageId, ...mail } = await composeMessage(message as MessageInput, { ...options, id: 'id' })
    this.#sent.push({ host: `${this.__parent__?.__name__ ?? ''}/${this.__name__}`, ...mail })
    return messageId
  }
}

/** A tree with mail hosts at /XYZ, /shop/XYZ and /shop/other, and the page's place at /shop/pages. */
export function mailTree() {
  const sent: SentMail[] = []
  const root = new Place()
  const shop = root.add('shop', new Place())
  const context = shop.add('pages', new Place())
  root.add('XYZ', new Host(sent))
  shop.add('XYZ', new Host(sent))
  shop.add('other', new Host(sent))
  return { sent, context, root }
}

/** Renders a page at /shop/pages. */
export async function renderMail(
  source: string,
  data: Record<string, unknown> = {},
  partials: Record<string, string> = {},
  options: CompileOptions = {},
): Promise<{ page: string; sent: SentMail[] }> {
  const { sent, context } = mailTree()
  const partial = (name: string) => {
    const source = Object.hasOwn(partials, name) ? partials[name] : undefined
    return source === undefined ? undefined : { source, name: `${name}.hbs` }
  }
  const page = await compileTemplate(source, { name: 'page.hbs', partial, ...options }).render(data, { context })
  return { page, sent }
}

export const parsed = (mail: SentMail): Promise<ParsedMail> => simpleParser(mail.content)
