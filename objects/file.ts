/**
 * File: a binary in the tree, such as an image or a document that mails carry (OFS File, with its content in a blob).
 *
 * `write` gives it its content, in the transaction; `read` and `bytes` give it back.
 */
import { Blob, checkOptions, registerClass } from '../lib/index.ts'
import type { Properties } from './properties.ts'

/** A Blob with a title: an image or a document of the tree. */
export class File extends Blob {
  static properties: Properties = {
    title: { type: 'string', description: 'what people call it' },
    mediaType: { type: 'string', description: 'the media type of the content, such as image/png' },
  }

  title: string

  constructor(options: { readonly title?: string; readonly mediaType?: string } = {}) {
    const { title = '', mediaType } = checkOptions('File', options)
    super(mediaType === undefined ? {} : { mediaType })
    this.title = title
  }
}

registerClass('File', File)
