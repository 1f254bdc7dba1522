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
 * Splits a list such as `ann@example.org, "B, Bob" <bob@example.org>` at its commas and takes the address of each item:
 * the item itself, or what stands in angle brackets at its end. Empty items and duplicates are dropped.
 * @returns the addresses, or a problem in words; comments and groups of RFC 5322 are problems
 */
export function parseAddressList(text: string): { addresses: string[] } | { problem: string } {
  const addresses = new Set<string>()
  for (const item of splitAtCommas(text)) {
    if (item === '') continue
    const address = /^(?:"(?:[^"\\]|\\.)*"|[^"<>()]*)\s*<([^<>]*)>$/.exec(item)?.[1]?.trim() ?? item
    const problem = addressProblem(address)
    if (problem !== undefined) return { problem: `address ${JSON.stringify(address)} cannot be used: ${problem}` }
    addresses.add(address)
  }
  return { addresses: [...addresses] }
}

function splitAtCommas(text: string): string[] {
  const items: string[] = []
  let start = 0
  let quoted = false
  let bracketed = false
  for (let i = 0; i < text.length; i++) {
    const char = text[i]
    if (quoted) {
      if (char === '\\') i++
      else if (char === '"') quoted = false
    } else if (char === '"') quoted = true
    else if (char === '<') bracketed = true
    else if (char === '>') bracketed = false
    else if (char === ',' && !bracketed) {
      items.push(text.slice(start, i).trim())
      start = i + 1
    }
  }
  items.push(text.slice(start).trim())
  return items
}
