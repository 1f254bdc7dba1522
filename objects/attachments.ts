/** Blobs and files of the tree as parts of a message: their content is read when the message is composed. */
import { Blob } from '../lib/index.ts'
import type { DataEntity, Entity, MessageInput, MessageObject, Multipart } from '../maildrop/compose/index.ts'

type Attachment = NonNullable<MessageObject['attachments']>[number]
type TreeAttachment = Attachment | (Omit<Attachment, 'content'> & { readonly content: Blob })

/** A message, in which the content of an attachment may be a Blob or File of the tree. */
export type Message =
  | Exclude<MessageInput, MessageObject>
  | (Omit<MessageObject, 'attachments'> & { readonly attachments?: readonly TreeAttachment[] })

/** The type that says nothing; what the file name tells is better. */
const UNKNOWN_TYPE = 'application/octet-stream'

/**
 * The message with the contents of blobs in their place, and with the names and media types that the blobs have.
 * @throws {ObjectError} DATABASE_CORRUPT if a content is not what was written
 */
export async function withContents(message: Message): Promise<MessageInput> {
  if (typeof message !== 'object' || message === null || message instanceof Uint8Array) return message
  if ('headerParts' in message)
    return typeof message.body === 'string' ? message : { ...message, body: await filled(message.body) }
  const { attachments, ...others } = message
  return Array.isArray(attachments)
    ? { ...others, attachments: await Promise.all(attachments.map(attached)) }
    : (message as MessageObject)
}

async function filled<E extends Entity>(entity: E): Promise<E> {
  if (entity.kind === 'multipart')
    return { ...entity, parts: await Promise.all((entity as Multipart).parts.map(filled<Entity>)) }
  const { data } = entity as DataEntity
  if (entity.kind === 'text' || !(data instanceof Blob)) return entity
  return { ...described(data), ...entity, data: await data.bytes() }
}

async function attached(attachment: TreeAttachment): Promise<Attachment> {
  const { content } = attachment
  if (!(content instanceof Blob)) return attachment as Attachment
  const { filename, type } = described(content)
  return {
    ...(filename !== undefined && { filename }),
    ...(type !== undefined && { contentType: type }),
    ...attachment,
    content: await content.bytes(),
  }
}

function described({ mediaType, __name__: filename }: Blob & { readonly __name__?: string | undefined }) {
  return { ...(filename !== undefined && { filename }), ...(mediaType !== UNKNOWN_TYPE && { type: mediaType }) }
}
