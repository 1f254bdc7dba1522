/** What a page would send: its messages composed as for sending, and sent nowhere. */
import { ObjectError } from '../lib/index.ts'
import type { ComposedMessage } from '../maildrop/compose/index.ts'
import type { MailHost, RenderOptions } from '../templates/index.ts'
import type { ComposingHost } from './smarthost.ts'

export interface PreviewedMessage extends ComposedMessage {
  /** Path of the mail host, or the server where the page names one. */
  readonly host: string
}

/**
 * An option of `render` that keeps the page's messages instead of sending them.
 *
 *     const { messages, deliver } = preview()
 *     const page = await template.render(data, { deliver })
 */
export function preview(): { messages: readonly PreviewedMessage[]; deliver: NonNullable<RenderOptions['deliver']> } {
  const messages: PreviewedMessage[] = []
  return {
    messages,
    async deliver(host: MailHost, message, options) {
      if (!canCompose(host)) throw new ObjectError('WRONG_TYPE', 'only a MaildropHost can show what it would send')
      messages.push({ host: host.physicalPath, ...(await host.compose(message, options)) })
    },
  }
}

function canCompose(host: MailHost): host is ComposingHost {
  return 'compose' in host && typeof host.compose === 'function'
}
