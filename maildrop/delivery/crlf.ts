/**
 * Line endings as they go over the wire: CR LF, LF and CR each end a line (nodemailer's stream does the same to what it is
 * given). What works on a message before that, a conversion or a signature, has to see the same lines.
 */

/** @param bytes a message in pieces */
export async function* withCrlf(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let held = ''
  for await (const piece of bytes) {
    if (held === '' && isClean(piece)) {
      yield piece
      continue
    }
    const text = held + piece.toString('latin1')
    // Whether an LF follows is not known yet.
    held = text.endsWith('\r') ? '\r' : ''
    const lines = text.slice(0, text.length - held.length).replace(/\r\n|\r|\n/g, '\r\n')
    if (lines !== '') yield Buffer.from(lines, 'latin1')
  }
  if (held !== '') yield Buffer.from('\r\n')
}

/** True if every CR and LF of a piece is half of a CRLF within it. */
function isClean(piece: Buffer): boolean {
  for (let at = 0; at < piece.length; at++) {
    const byte = piece[at]
    if (byte === LF) return false
    if (byte !== CR) continue
    at += 1
    if (piece[at] !== LF) return false
  }
  return true
}

const LF = 0x0a
const CR = 0x0d
