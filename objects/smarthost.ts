/**
 * Mail to a server that a page names (`smtphost` of a sendmail block), without a mail host object: as transactional as any, through the
 * spool of that relay. Only the usual server and those of MAILDROP_RELAYS can be named.
 */
import { ObjectError, Persistent } from '../lib/index.ts'
import type { ComposedMessage } from '../maildrop/compose/index.ts'
import { type MaildropConfig, type RelayName, relayText } from '../maildrop/index.ts'
import type { MailHost } from '../templates/index.ts'
import type { Message } from './attachments.ts'
import { mailSystemOf } from './mail-system.ts'
import type { SendOptions } from './send-options.ts'
import { composeFrom, connectionOf, type Sender, sendFrom } from './sending.ts'

/** A mail host that can show what it would send. */
export interface ComposingHost extends MailHost {
  /** Its path in the tree, or the server. */
  readonly physicalPath: string
  compose(message: Message, options?: SendOptions): Promise<ComposedMessage>
}

const KEY_AGE = 7

/**
 * The mail host for a server.
 * @param context an object of the database that the page is rendered in
 * @throws {ObjectError} INVALID_ARGUMENT for a server that is not allowed, NOT_CONNECTED; {MaildropError} of the configuration
 */
export function smarthost(context: object | undefined, server: RelayName): ComposingHost {
  const name = relayText(server)
  if (!(context instanceof Persistent))
    throw new ObjectError(
      'NOT_CONNECTED',
      `smtphost ${name}: the page was rendered without an object of a database (option 'context')`,
    )
  const connection = connectionOf(context)
  const config = mailSystemOf(connection.database).config()
  const spool = spoolFor(config, server)
  const sender: Sender = {
    connection,
    config: { ...config, smtp: { ...config.smtp, ...server, login: undefined } },
    spool,
    transactional: true,
    maxRecipients: undefined,
    maxSize: undefined,
    keyAge: KEY_AGE,
    keyOwner: () => name,
    name: () => name,
  }
  return {
    isMailHost: true,
    physicalPath: name,
    send: (message, options = {}) => sendFrom(sender, message as Message, options as SendOptions),
    compose: (message, options = {}) => composeFrom(sender, message, options),
  }
}

function spoolFor({ smtp, relays, spools, file }: MaildropConfig, server: RelayName): string {
  const wanted = relayText(server)
  if (wanted === relayText({ host: smtp.host.toLowerCase(), port: smtp.port })) return spools[0]
  const relay = relays.find(each => relayText(each) === wanted)
  if (relay !== undefined) return relay.spool
  throw new ObjectError(
    'INVALID_ARGUMENT',
    `smtphost: ${wanted} is not allowed; allowed: ${[smtp, ...relays].map(relayText).join(', ')} (SMTP_HOST and MAILDROP_RELAYS, ${file})`,
  )
}
