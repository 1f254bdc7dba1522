/**
 * Line endings as they go over the wire: CR LF, LF and CR each end a line (nodemailer's stream does the same to what it is
 * given). What works on a message before that, a conversion or a signature, has to see the same lines.
 */

/** @param bytes a message in pieces */
export async function* withCrlf(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held = ''
  for await (const piece of bytes) {
    const text = held + piece.toString('latin1')
    // Whether an LF follows is not known yet.
    held = text.endsWith('\r') ? '\r' : ''
    const lines = text.slice(0, text.length - held.length).replace(/\r\n|\r|\n/g, '\r\n')
    if (lines !== '') yield Buffer.from(lines, 'latin1')
  }
  if (held !== '') yield Buffer.from('\r\n')
}
