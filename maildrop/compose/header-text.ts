/**
 * Text in headers: what a receiver shows, against the ASCII lines that carry it.
 *
 * `cleanText` makes any string fit for one header (no line break survives), `encodeText` and `encodePhrase` write it in
 * ASCII (RFC 2047 where needed), `decodeWords` reads encoded-words, `foldHeader` breaks a header into lines (RFC 5322
 * §2.2.3). All are total functions: whatever goes in, what comes out holds printable ASCII and spaces only, so no
 * text can end its header, and text that merely looks like an encoded-word arrives as it was written.
 */
import { encodeWord } from 'nodemailer/lib/mime-funcs'

/** The longest encoded-word written, in characters; RFC 2047 §2 allows 75. */
const ENCODED_WORD_LENGTH = 52
/** Lines are folded to this length where they can be (RFC 5322 §2.1.1 asks for 78). */
const FOLDED_LENGTH = 76
/** A longer word cannot be folded below the 998 characters a line may have, so it is encoded. */
const LONGEST_WORD = 500

/** C0 and C1 controls, DEL, and Unicode's line and paragraph separators: everything some reader takes for a line break. */
const CONTROLS = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g
const ENCODED_WORDS = /=\?([^?\s]+)\?([bq])\?([^?\s]*)\?=(?:[ \t]+(?==\?[^?\s]+\?[bq]\?[^?\s]*\?=))?/gi

/** `text` on one line: every run of line breaks and control characters becomes one space; trimmed. */
export function cleanText(text: string): string {
  return text.replace(CONTROLS, ' ').trim()
}

/** Writes unstructured text (RFC 5322 §2.2.1), cleaned, as ASCII. */
export function encodeText(text: string): string {
  const clean = cleanText(text)
  return isPlain(clean) ? clean : encode(clean)
}

/** Writes text as a phrase (RFC 5322 §3.2.5), such as a display name: bare, quoted, or encoded. */
export function encodePhrase(text: string): string {
  const clean = cleanText(text)
  if (!isPlain(clean)) return encode(clean)
  return /^[\w !#$%&'*+/=?^`{|}~-]+$/.test(clean) ? clean : quote(clean)
}

/** A quoted-string (RFC 5322 §3.2.4). */
export function quote(text: string): string {
  return `"${text.replace(/["\\]/g, '\\$&')}"`
}

/** Reads the encoded-words in `text` (RFC 2047); those of an unknown character set stay as they are. */
export function decodeWords(text: string): string {
  return text.replace(ENCODED_WORDS, (word: string, charset: string, encoding: string, data: string) => {
    try {
      const decoder = new TextDecoder(charset.split('*')[0])
      return decoder.decode(encoding.toLowerCase() === 'b' ? Buffer.from(data, 'base64') : decodeQ(data))
    } catch {
      return word
    }
  })
}

/** The whole header with its line breaks (CRLF, the last included), folded at spaces only. */
export function foldHeader(name: string, value: string): string {
  if (name.length + 2 + value.length <= FOLDED_LENGTH) return `${name}: ${value}\r\n`
  let text = `${name}:`
  let length = text.length
  for (const [i, piece] of value.split(/ (?=[^ ])/).entries()) {
    const breaks = i > 0 && length + 1 + piece.length > FOLDED_LENGTH
    text += `${breaks ? '\r\n' : ''} ${piece}`
    length = (breaks ? 0 : length) + 1 + piece.length
  }
  return `${text}\r\n`
}

/** True for what can stand in a header as it is: printable ASCII without anything like an encoded-word or an overlong word. */
function isPlain(text: string): boolean {
  return (
    /^[\x20-\x7e]*$/.test(text) && !text.includes('=?') && text.split(' ').every(word => word.length <= LONGEST_WORD)
  )
}

function encode(text: string): string {
  const special = text.replace(/[\x20-\x7e]/g, '').length
  return encodeWord(text, special > text.length / 3 ? 'B' : 'Q', ENCODED_WORD_LENGTH)
}

function decodeQ(data: string): Buffer {
  const bytes = data
    .replace(/_/g, ' ')
    .replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  return Buffer.from(bytes, 'latin1')
}
