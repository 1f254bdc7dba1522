/** What a server can do, as it says in its reply to EHLO (RFC 5321 section 4.1.1.1). */

export interface Abilities {
  /** Most bytes of a message (RFC 1870); undefined if it does not say. */
  readonly maxSize: number | undefined
  /** Text of 8 bits in bodies (8BITMIME, RFC 6152). */
  readonly eightBit: boolean
  /** Addresses that are not ASCII (SMTPUTF8, RFC 6531). */
  readonly smtputf8: boolean
  /** Commands without waiting for the reply to the one before (PIPELINING, RFC 2920). */
  readonly pipelining: boolean
  /** What becomes of a message may be said to be of no interest (RFC 3461). */
  readonly dsn: boolean
}

/** @param reply the reply to EHLO; empty if there was none */
export function abilitiesOf(reply: string): Abilities {
  const maxSize = Number(/^250[ -]SIZE +(\d+)[ \t]*\r?$/im.exec(reply)?.[1] ?? 0)
  const offers = (name: string): boolean => new RegExp(`^250[ -]${name}\\b`, 'im').test(reply)
  return {
    maxSize: maxSize || undefined,
    eightBit: offers('8BITMIME'),
    smtputf8: offers('SMTPUTF8'),
    pipelining: offers('PIPELINING'),
    dsn: offers('DSN'),
  }
}
