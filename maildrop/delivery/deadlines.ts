/**
 * How long a server may take, in milliseconds: hard limits, which bytes that trickle in do not put off.
 *
 * The values are the least that RFC 5321 section 4.5.3.2 asks for, where it names one. A stage that takes longer ends the
 * connection; what that means for the message is decided in `outcome.ts`, by the stage.
 */
export interface Deadlines {
  /** Looking up the name, connecting, and the handshake of implicit TLS. */
  readonly connect: number
  /** The greeting, after that (section 4.5.3.2.1). */
  readonly greeting: number
  /** The whole reply to EHLO, STARTTLS with its handshake, AUTH, MAIL, RCPT or RSET, each (4.5.3.2.2 and 4.5.3.2.3). */
  readonly command: number
  /**
   * Each reply to an envelope that went behind the message before it: some servers throw away what comes behind a final dot. The
   * message is sent over another connection then, and by itself, with all the time that the others give it.
   */
  readonly behind: number
  /** All of these together until the first message may be sent. */
  readonly opening: number
  /** All replies to MAIL and RCPT of one message together. */
  readonly envelope: number
  /** The reply to DATA (4.5.3.2.4). */
  readonly data: number
  /** Until the server has taken another piece of the message, of 64 KiB at most (4.5.3.2.5). */
  readonly piece: number
  /** Slowest transfer of a message, in bytes per second; `piece` is added. */
  readonly slowest: number
  /** The reply to the final dot, and the way of the last pieces (4.5.3.2.6). */
  readonly dot: number
}

export const DEADLINES: Deadlines = {
  connect: 30_000,
  greeting: 300_000,
  command: 300_000,
  behind: 10_000,
  opening: 900_000,
  envelope: 1_800_000,
  data: 120_000,
  piece: 180_000,
  slowest: 10_000,
  dot: 600_000,
}
