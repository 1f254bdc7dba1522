/** `send`: a message on standard input, through a mail host. */
import { buffer } from 'node:stream/consumers'
import { MaildropHost, type SendOptions } from '../../objects/index.ts'
import { changing } from '../changing.ts'
import type { TreeCommand, Typed } from '../command.ts'

interface Args {
  readonly path: string
  /** base64 */
  readonly message: string
  readonly options: SendOptions
}

interface Result {
  readonly messageId: string
}

const OPTIONS = ['to', 'from', 'subject', 'sendAt'] as const

export const command: TreeCommand<Args, Result> = {
  positionals: [{ name: 'path', describe: 'the mail host', required: true, kind: 'path' }],
  options: {
    to: { type: 'string', describe: 'the recipients, with commas between' },
    from: { type: 'string', describe: 'the sender' },
    subject: { type: 'string', describe: 'the subject' },
    'send-at': { type: 'string', describe: 'not before that time, like 2026-12-24T18:00:00+01:00' },
  },
  examples: [
    ['send /mail/XYZ < message.txt', 'a file; prints the Message-ID'],
    ['send /mail/XYZ --to ann@example.org --subject "Good news" < message.txt', 'with other headers'],
  ],
  async prepare(typed: Typed) {
    if (process.stdin.isTTY)
      process.stderr.write('objtree: reading the message from the terminal; end it with Ctrl-D\n')
    const message = await buffer(process.stdin)
    const options = Object.fromEntries(OPTIONS.map(name => [name, typed[name]]).filter(([, value]) => value != null))
    return { path: typed.path as string, message: message.toString('base64'), options }
  },
  async run(context, { path, message, options }) {
    const { value } = await changing(context, app =>
      app.traverse(path, MaildropHost).send(Buffer.from(message, 'base64'), options),
    )
    return { messageId: value }
  },
  print: ({ messageId }, out) => out.line(messageId),
}
