/** Looks at a message piece by piece: whether it has text of 8 bits, lines that are too long, and lines that end otherwise than by CRLF. */
import { isAscii } from 'node:buffer'

export interface Lines {
  look(piece: Buffer): void
  /** A byte of 128 or more has been seen. */
  readonly eightBit: boolean
  /** A line of more than 998 bytes, without its end, has been seen (RFC 5322 section 2.1.1). */
  readonly tooLong: boolean
  /** Bytes that are added when every line is ended by CRLF, but for lines that a bare CR ends. */
  readonly missing: number
}

const LONGEST = 998
const LF = 0x0a
const CR = 0x0d
const DOT = 0x2e

export function lineWatch(): Lines {
  let eightBit = false
  let tooLong = false
  /** Bytes since the last line end. */
  let length = 0
  let missing = 0
  let last = LF
  return {
    look(piece) {
      eightBit ||= hasEightBit(piece)
      let from = 0
      while (!tooLong && from < piece.length) {
        const end = lineEnd(piece, from)
        length += end - from
        if (length > LONGEST) tooLong = true
        if (end < piece.length) length = 0
        from = end + 1
      }
      for (let at = piece.indexOf(LF); at !== -1; at = piece.indexOf(LF, at + 1))
        if ((at === 0 ? last : piece[at - 1]) !== CR) missing += 1
      last = piece.at(-1) ?? last
    },
    get eightBit() {
      return eightBit
    },
    get tooLong() {
      return tooLong
    },
    get missing() {
      return last === LF ? missing : missing + 2
    },
  }
}

/** True if a message goes over the wire as it is: its lines are short enough, ended by CRLF, and no dot is to be stuffed. */
export function isWireReady(bytes: Buffer): boolean {
  let start = 0
  while (start < bytes.length) {
    const end = bytes.indexOf(CR, start)
    if (end === -1 || end - start > LONGEST || bytes[start] === DOT || bytes.indexOf(LF, start) !== end + 1)
      return false
    start = end + 2
  }
  return start > 0
}

/** True if there is a byte of 128 or more. */
export function hasEightBit(bytes: Uint8Array): boolean {
  return !isAscii(bytes)
}

/** Where the line ends that contains `from`; the length of the piece if it does not. */
function lineEnd(piece: Buffer, from: number): number {
  const lf = piece.indexOf(LF, from)
  const end = lf === -1 ? piece.length : lf
  if (end - from <= LONGEST) return end > from && piece[end - 1] === CR ? end - 1 : end
  // Only a long stretch can hide a line that a bare CR ends.
  const cr = piece.indexOf(CR, from)
  return cr === -1 || cr > end ? end : cr
}
