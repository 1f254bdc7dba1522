/**
 * The envelope as it goes over the wire: domains as A-labels, and whom the server cannot have an address of, because it is
 * not ASCII and SMTPUTF8 is not offered (RFC 6531 section 3.2), apart from the others.
 */
import { domainToASCII } from 'node:url'
import type { Envelope } from '../spool/format.ts'
import type { Abilities } from './abilities.ts'
import { unfit } from './fit.ts'
import type { Event } from './outcome.ts'

export interface WireEnvelope {
  readonly from: string
  /** The recipients that can be sent to, and what they are called in the envelope; those are the same ones' names here. */
  readonly names: ReadonlyMap<string, readonly string[]>
  /** The other recipients, by what they are called in the envelope. */
  readonly refused: ReadonlyMap<string, Event>
}

/** @returns an event if the sender cannot be sent for */
export function wireEnvelope(
  { from, to }: Envelope,
  { smtputf8 }: Abilities,
): WireEnvelope | { readonly event: Event } {
  const sender = onWire(from, smtputf8)
  if (typeof sender !== 'string') return { event: sender }
  const names = new Map<string, string[]>()
  /** How a mailbox is called that has been seen; domains are the same in any case (RFC 5321 section 2.4). */
  const known = new Map<string, string>()
  const refused = new Map<string, Event>()
  for (const address of to) {
    const wire = onWire(address, smtputf8)
    if (typeof wire !== 'string') refused.set(address, wire)
    else {
      const at = wire.lastIndexOf('@')
      const mailbox = wire.slice(0, at) + wire.slice(at).toLowerCase()
      const name = known.get(mailbox) ?? wire
      const same = names.get(name)
      if (same !== undefined) same.push(address)
      else {
        known.set(mailbox, wire)
        names.set(wire, [address])
      }
    }
  }
  return { from: sender, names, refused }
}

/** With a local part that is not ASCII the domain may stay as it is too, if the server takes such addresses at all. */
function onWire(address: string, smtputf8: boolean): string | Event {
  if (isAscii(address)) return address
  const at = address.lastIndexOf('@')
  const local = address.slice(0, at)
  const domain = address.slice(at + 1)
  if (!isAscii(local))
    return smtputf8
      ? address
      : unfit('5.6.7', `the address ${address} is not ASCII and the server does not offer SMTPUTF8`)
  const ascii = domainToASCII(domain)
  return ascii === '' ? unfit('5.1.2', `${domain} is no domain name`) : `${local}@${ascii}`
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}
