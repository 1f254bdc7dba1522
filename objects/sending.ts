/**
 * Sending a message in a transaction: what a mail host of the tree and a relay named in a page have in common.
 */
import { type Connection, ObjectError, type Persistent, parents } from '../lib/index.ts'
import type { ComposedMessage } from '../maildrop/compose/index.ts'
import { deliverNow, ensureSpool, formatMailFile, type MaildropConfig, newMailId, submit } from '../maildrop/index.ts'
import { type Message, withContents } from './attachments.ts'
import { type Keyed, MailDelivery } from './mail-delivery.ts'
import { nameMail } from './mail-status.ts'
import { mailSystemOf } from './mail-system.ts'
import type { OutgoingMail } from './outgoing-mail.ts'
import { readOptions, type SendOptions } from './send-options.ts'
import { nameOfKey, sentKeysForWriting, sentKeysOf } from './sent-keys.ts'

/** What sends. */
export interface Sender {
  readonly connection: Connection
  readonly config: MaildropConfig
  /** Absolute path. */
  readonly spool: string
  /** Whether mail waits for the transaction to commit. */
  readonly transactional: boolean
  /** Undefined is no limit. */
  readonly maxRecipients: number | undefined
  /** Bytes. */
  readonly maxSize: number | undefined
  /** Days for which keys are remembered. */
  readonly keyAge: number
  /** Whose keys they are. */
  keyOwner(): string | number
  /** For people: a path, or a server. */
  name(): string
}

const DAY = 86_400_000

/**
 * Sends a message: see `send` of MaildropHost. Everything up to the first wait happens at once, so that a send nobody waits for is part of
 * the transaction, too.
 */
export async function sendFrom(sender: Sender, message: Message, options: SendOptions): Promise<string> {
  const { notBefore, key, immediate } = readOptions(options)
  if (immediate) return await sendNow(sender, message, options)
  if (key === undefined) return await enqueue(sender, message, options, notBefore)
  const { root, transaction, database } = sender.connection
  const keyed = keyedBy(sender, key)
  const sent = sentKeysOf(root)?.find(keyed.name, Date.now())
  if (sent !== undefined) return sent
  for (;;) {
    const earlier = MailDelivery.of(transaction, mailSystemOf(database)).sentAs(keyed.name)
    if (earlier === undefined) return await enqueue(sender, message, options, notBefore, keyed)
    const messageId = await earlier.catch(() => undefined)
    if (messageId !== undefined) return messageId
  }
}

/** Composes a message as `sendFrom` does, and sends nothing. */
export async function composeFrom(sender: Sender, message: Message, options: SendOptions): Promise<ComposedMessage> {
  readOptions(options)
  return await compose(sender, message, options, `${newMailId()}-${sender.connection.database.id}`)
}

async function sendNow(sender: Sender, message: Message, options: SendOptions): Promise<string> {
  const id = `${newMailId()}-${sender.connection.database.id}`
  const { messageId, envelope, content } = await compose(sender, message, options, id)
  await deliverNow(sender.config, { id, envelope, content })
  return messageId
}

async function enqueue(
  sender: Sender,
  message: Message,
  options: SendOptions,
  notBefore: Date | undefined,
  keyed?: Keyed,
): Promise<string> {
  const { spool, transactional } = sender
  const { database, transaction } = sender.connection
  const newId = newMailId()
  const delivery = transactional ? MailDelivery.of(transaction, mailSystemOf(database)) : undefined
  const composed = compose(sender, message, options, `${newId}-${database.id}`)
  const mail = composed.then(({ messageId, envelope, content }): OutgoingMail => {
    const id = nameMail(newId, messageId, database.id)
    return { id, spool, bytes: formatMailFile({ id, ...envelope, notBefore }, content) }
  })
  delivery?.add(mail, keyed && { ...keyed, messageId: messageIdOf(composed, mail) })
  const { id, bytes } = await mail
  if (delivery === undefined) {
    await ensureSpool(spool)
    await submit(spool, id, bytes!)
  }
  return (await composed).messageId
}

/** The Message-ID, once the mail is there. */
function messageIdOf(composed: Promise<ComposedMessage>, mail: Promise<unknown>): Promise<string> {
  const messageId = Promise.all([composed, mail]).then(([{ messageId }]) => messageId)
  // what goes wrong is told by `mail`
  messageId.catch(() => undefined)
  return messageId
}

let composer: Promise<typeof import('../maildrop/compose/index.ts')> | undefined

async function compose(
  { maxRecipients, maxSize }: Sender,
  message: Message,
  options: SendOptions,
  id: string,
): Promise<ComposedMessage> {
  const contents = withContents(message)
  // even of a module that is there, an import takes 20 µs
  composer ??= import('../maildrop/compose/index.ts')
  const [read, { composeMessage }] = await Promise.all([contents, composer])
  return await composeMessage(read, { ...options, maxRecipients, maxSize, id })
}

function keyedBy({ connection, transactional, keyAge, keyOwner, name }: Sender, key: string): Keyed {
  if (!transactional)
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `key: ${name()} is not transactional, so it cannot remember what it sent; use a mail host that is, or leave the key out`,
    )
  const keyName = nameOfKey(keyOwner(), key)
  const until = Date.now() + keyAge * DAY
  return { name: keyName, enter: messageId => sentKeysForWriting(connection.root).enter(keyName, messageId, until) }
}

/**
 * The connection of the tree that an object is in; a new one may not have been given its own yet.
 * @throws {ObjectError} NOT_CONNECTED
 */
export function connectionOf(object: Persistent): Connection {
  for (const each of [object, ...parents(object)] as Persistent[])
    if (each._p_jar !== undefined) return each._p_jar as Connection
  throw new ObjectError(
    'NOT_CONNECTED',
    'the mail host is in no database; add it to the tree, and send in a transaction',
  )
}
