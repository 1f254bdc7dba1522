/** Composing messages: from what a caller hands over to the bytes and the envelope that are delivered. */
export { type Address, formatAddresses, type Group, type Mailbox, mailboxesOf } from './address.ts'
export { parseAddresses, parseMailbox } from './address-parser.ts'
export { ENCODINGS, type Encoding } from './body.ts'
export {
  type ComposedMessage,
  type ComposeOptions,
  composeMessage,
  type HeadedMessage,
  type MessageInput,
} from './compose.ts'
export { COMPOSE_ERROR_CODES, ComposeError, type ComposeErrorCode } from './errors.ts'
export type { HeaderPart } from './header-parts.ts'
export type { MessageObject } from './message-object.ts'
export type { DataEntity, Entity, Multipart, TextEntity } from './mime.ts'
