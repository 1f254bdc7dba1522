/**
 * Envelope addresses: the reverse-path and the forward-paths of RFC 5321 section 4.1.2, without the angle brackets.
 *
 * What passes here can be written into a `##` line and into an SMTP command and be read back as the same address:
 * no control characters, no line breaks, no angle brackets, white space and commas only inside a quoted local part.
 * A name without a domain (`root`) passes, since a local server may know it. Nothing is rewritten.
 */
import { MaildropError } from '../errors.ts'

/** Longest address in bytes: 64 of local part, `@`, 255 of domain (RFC 5321 section 4.5.3.1). */
const MAX_BYTES = 320

const ATOMS = '[^\\s"(),:;<>@\\[\\]\\\\]+'
const QUOTED = '"(?:[^"\\\\\\p{Cc}]|\\\\[^\\p{Cc}])*"'
const DOMAIN = '(?:[^\\s"(),:;<>@\\[\\]\\\\]+|\\[[^\\s\\[\\]\\\\<>]+\\])'
const ADDRESS = new RegExp(`^(?:${ATOMS}|${QUOTED})(?:@${DOMAIN})?$`, 'u')
/** The usual list, of one address without anything around it, short enough. */
const PLAIN = /^[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[a-z0-9.-]{1,255}$/i
const FORBIDDEN = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\ufffd]/u

/** Why `address` cannot be used, or undefined if it can. */
export function addressProblem(address: string): string | undefined {
  if (address === '') return 'it is empty'
  if (FORBIDDEN.test(address)) return 'it contains a control character, a line break or damaged text'
  if (Buffer.byteLength(address) > MAX_BYTES) return `it is longer than ${MAX_BYTES} bytes`
  if (!ADDRESS.test(address)) return 'expected local@domain'
  return undefined
}

/**
 * Checks one address that is going to be written to a mail file.
 * @throws {MaildropError} INVALID_ADDRESS
 */
export function checkAddress(role: 'sender' | 'recipient', address: string): void {
  const problem = addressProblem(address)
  if (problem === undefined) return
  throw new MaildropError('INVALID_ADDRESS', `${role} ${JSON.stringify(address)} cannot be used: ${problem}`)
}

/**
 * Takes the addresses out of a list such as `ann@example.org, "B, Bob" <bob@example.org> (on leave), Team: eve@example.org;`
 * (RFC 5322 section 3.4): groups are their members, display names and comments are dropped, and so are duplicates.
 * @returns the addresses, or a problem in words
 */
export function parseAddressList(text: string): { addresses: string[] } | { problem: string } {
  if (PLAIN.test(text)) return { addresses: [text] }
  const items = itemsOf(text)
  if ('problem' in items) return items
  const addresses = new Set<string>()
  for (const item of items) {
    const problem = addressProblem(item)
    if (problem !== undefined) return { problem: `address ${shown(item)} cannot be used: ${problem}` }
    addresses.add(item)
  }
  return { addresses: [...addresses] }
}

/** What stands between the commas: what is in angle brackets, or else all of it, without comments. Each character is looked at once. */
function itemsOf(text: string): string[] | { readonly problem: string } {
  const items: string[] = []
  let plain = ''
  let angle: string | undefined
  let place: 'plain' | 'angle' | 'behind' = 'plain'
  let group: 'none' | 'open' | 'ended' = 'none'
  let depth = 0
  let until = ''

  const add = (chars: string): void => {
    if (place === 'angle') angle += chars
    else plain += chars
  }
  const endItem = (): void => {
    const item = (angle ?? plain).trim()
    if (item !== '' || angle !== undefined) items.push(item)
    plain = ''
    angle = undefined
    place = 'plain'
  }

  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string
    const isEscaped = char === '\\' && (depth > 0 || until === '"')
    const chars = isEscaped ? text.slice(at, at + 2) : char
    if (isEscaped) at += 1
    if (depth > 0) {
      if (char === '(') depth += 1
      else if (char === ')') depth -= 1
    } else if (until !== '') {
      add(chars)
      if (char === until) until = ''
    } else if (char === '(') {
      depth = 1
      add(' ')
    } else if (char === ',' && place !== 'angle') {
      endItem()
      if (group === 'ended') group = 'none'
    } else if (char === ':' && place !== 'angle') {
      if (group !== 'none' || place === 'behind' || plain.trim() === '') return misplaced(text, at)
      group = 'open'
      plain = ''
    } else if (char === ';' && place !== 'angle') {
      if (group !== 'open') return misplaced(text, at)
      endItem()
      group = 'ended'
    } else if (char === '>' && place === 'angle') place = 'behind'
    else if (char === ' ' || char === '\t') add(char)
    else if (place === 'behind' || group === 'ended') return misplaced(text, at)
    else if (char === '<' && place === 'plain') {
      place = 'angle'
      angle = ''
    } else {
      if (char === '"') until = '"'
      if (char === '[') until = ']'
      add(char)
    }
  }
  const open = depth > 0 ? 'a comment' : place === 'angle' ? 'a <' : until === '"' ? 'a quoted text' : ''
  if (open !== '' || group === 'open') return { problem: `${open || 'a group'} is not closed in ${shown(text)}` }
  endItem()
  return items
}

function misplaced(text: string, at: number): { readonly problem: string } {
  return { problem: `${shown(text.slice(0, at + 1))} ends with a ${text[at]} out of place` }
}

/** Quoted, and no more of it than helps. */
function shown(text: string): string {
  return JSON.stringify(text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)}…` : text)
}

const MOST_SHOWN = 200
