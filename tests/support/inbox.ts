/** A real SMTP server (smtp-server) on 127.0.0.1 that keeps what it receives; for tests and for the demo. */
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'

export interface Received {
  readonly from: string
  readonly to: string[]
  readonly text: string
  /** Whether the connection was encrypted, and who had logged in. */
  readonly secure: boolean
  readonly user: string | undefined
}

export interface Inbox {
  readonly port: number
  readonly messages: Received[]
  close(): Promise<void>
}

export async function startInbox(options: SMTPServerOptions = {}): Promise<Inbox> {
  const messages: Received[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: options.onAuth === undefined ? ['AUTH', 'STARTTLS'] : [],
    disableReverseLookup: true,
    ...options,
    onData(stream, { envelope, secure, user }, done) {
      text(stream).then(content => {
        const from = envelope.mailFrom === false ? '' : envelope.mailFrom.address
        messages.push({ from, to: envelope.rcptTo.map(({ address }) => address), text: content, secure, user })
        done()
      }, done)
    },
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', resolve)
  })
  server.on('error', () => undefined)
  return {
    port: (server.server.address() as AddressInfo).port,
    messages,
    close: () => new Promise(resolve => server.close(() => resolve())),
  }
}
