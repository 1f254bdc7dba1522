/**
 * Mail addresses: what is one, and how it is written.
 *
 * An address is `local@domain` by RFC 5321 §4.1.2, with UTF-8 in the local part by RFC 6531. It is kept in one
 * normal form: the local part bare where it can be and quoted where it must be, the domain in lower case and in
 * A-labels. What is not an address is refused with `BAD_ADDRESS`; nothing is repaired.
 */
import { isIP } from 'node:net'
import { domainToASCII } from 'node:url'
import { ComposeError } from './errors.ts'
import { shown } from './header-parts.ts'
import { encodePhrase, quote } from './header-text.ts'

/** One mailbox; `address` is in normal form, `name` is text as a receiver shows it (or empty). */
export interface Mailbox {
  readonly name: string
  readonly address: string
}

/** A named group (RFC 5322 §3.4), possibly of nobody. */
export interface Group {
  readonly name: string
  readonly members: readonly Mailbox[]
}

export type Address = Mailbox | Group

/** The mailboxes of an address list, groups opened. */
export function mailboxesOf(addresses: readonly Address[]): Mailbox[] {
  return addresses.flatMap(address => ('members' in address ? address.members : address))
}

/** Writes an address list as the value of a header (RFC 5322 §3.4), in ASCII but for local parts that are not. */
export function formatAddresses(addresses: readonly Address[]): string {
  return addresses.map(address => ('members' in address ? formatGroup(address) : formatMailbox(address))).join(', ')
}

function formatGroup({ name, members }: Group): string {
  const phrase = encodePhrase(name)
  // RFC 2047 section 5 (3): a blank between an encoded word and a sign
  return `${phrase}${phrase.endsWith('?=') ? ' ' : ''}:${members.length ? ' ' : ''}${members.map(formatMailbox).join(', ')};`
}

/**
 * Puts the two halves of an address into the normal form.
 * @param local the local part without quotes
 * @param where what the error names as the place of the address
 * @throws {ComposeError} BAD_ADDRESS
 */
export function normalAddress(local: string, domain: string, where: string): string {
  const refuse = (why: string) => new ComposeError('BAD_ADDRESS', `${where}: ${shown([`${local}@${domain}`])} ${why}`)
  if (local === '') throw refuse('has nothing before the @')
  if (!LOCAL_TEXT.test(local)) throw refuse('has a control or invisible character before the @')
  const left = DOT_ATOM.test(local) ? local : quote(local)
  if (Buffer.byteLength(left) > 64) throw refuse('has more than 64 bytes before the @')
  const right = normalDomain(domain)
  if (right === undefined) throw refuse(`has a domain that is none: ${shown([domain])}`)
  if (Buffer.byteLength(left) + 1 + right.length > 254) throw refuse('is longer than 254 bytes')
  return `${left}@${right}`
}

/** The domain of a normal address. */
export function domainOf(address: string): string {
  return address.slice(address.lastIndexOf('@') + 1)
}

const LOCAL_TEXT = /^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u
const ATEXT = "[\\w!#$%&'*+/=?^`{|}~\\u0080-\\u{10ffff}-]+"
const DOT_ATOM = new RegExp(`^${ATEXT}(?:\\.${ATEXT})*$`, 'u')
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

/** A domain in lower case and A-labels, or an address literal (RFC 5321 §4.1.3); undefined for what is neither. */
function normalDomain(domain: string): string | undefined {
  const literal = /^\[(IPv6:)?([\da-f:.]+)\]$/i.exec(domain)
  if (literal) return isIP(literal[2] ?? '') === (literal[1] ? 6 : 4) ? domain : undefined
  // domainToASCII reads URLs: it decodes %41 and turns 0x7f.1 into 127.0.0.1, hence the checks on either side
  if (!/^[\p{L}\p{M}\p{N}.-]+$/u.test(domain)) return undefined
  const ascii = /^[\x20-\x7e]*$/.test(domain) ? domain.toLowerCase() : domainToASCII(domain)
  const labels = ascii.split('.')
  const valid = labels.every(label => LABEL.test(label)) && !/^\d+$/.test(labels.at(-1) ?? '')
  return valid && ascii.length <= 253 ? ascii : undefined
}

function formatMailbox({ name, address }: Mailbox): string {
  if (name !== '') return `${encodePhrase(name)} <${address}>`
  return address.startsWith('"') ? `<${address}>` : address
}
