/**
 * Messages as they are kept in mailboxes: lines end in LF, and in an mbox no line of a message begins like the line that
 * begins one.
 *
 * Both work on a stream of pieces (latin1, so a character is a byte) and hold back no more than the end of a piece that
 * cannot be judged yet.
 */

/** CRLF, bare CR and bare LF become LF, as SMTP would have made each of them one line end. */
export async function* localLines(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let afterCr = false
  for await (const piece of pieces) {
    const text = Buffer.from(piece.buffer, piece.byteOffset, piece.length).toString('latin1')
    if (text === '') continue
    yield (afterCr && text.startsWith('\n') ? text.slice(1) : text).replace(/\r\n?/g, '\n')
    afterCr = text.endsWith('\r')
  }
}

/** The beginning of a line that may become one to be quoted. Longer runs of `>` are no quoted `From `. */
const UNDECIDED = /^>{0,1000}(?:F(?:r(?:o(?:m)?)?)?)?$/

/** Quotes as mboxrd does: a line of any number of `>` and then `From ` gets one more `>`. */
export async function* quoteFrom(pieces: AsyncIterable<string>): AsyncGenerator<string> {
  let held = ''
  let atLineStart = true
  for await (const piece of pieces) {
    const text = held + piece
    const lineStart = text.lastIndexOf('\n') + 1
    const mayBegin = lineStart > 0 || atLineStart
    const end = mayBegin && UNDECIDED.test(text.slice(lineStart)) ? lineStart : text.length
    held = text.slice(end)
    if (end === 0) continue
    const decided = text.slice(0, end)
    yield decided.replace(atLineStart ? /(^|\n)(>*From )/g : /(\n)(>*From )/g, '$1>$2')
    atLineStart = decided.endsWith('\n')
  }
  if (held !== '') yield held
}
