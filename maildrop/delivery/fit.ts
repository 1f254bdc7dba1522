/**
 * Makes a message fit what the server can take, or says why that is impossible, before anything of it is sent.
 */
import type { Abilities } from './abilities.ts'
import { hasEightBit, isWireReady, type Lines, lineWatch } from './lines.ts'
import type { Event } from './outcome.ts'
import { type Outgoing, scanStream } from './outgoing.ts'
import { planRewriting, rewritten } from './seven-bit.ts'

/** The server can never take it: no later attempt can succeed. */
export function unfit(enhanced: string, text: string): Event {
  return { stage: 'local', code: undefined, enhanced, text, unfit: true }
}

/** @returns a small message that goes as it is, which most do; undefined if `fit` has to be asked */
export function fitAsItIs(message: Outgoing, abilities: Abilities): Outgoing | undefined {
  const { small } = message
  if (small === undefined || tooLarge(message.size, abilities) !== undefined || !isWireReady(small.bytes))
    return undefined
  if (!abilities.eightBit && hasEightBit(small.bytes)) return undefined
  return { ...message, small: { ...small, wireReady: true } }
}

/** @returns the message, rewritten if need be; or what is in the way */
export async function fit(message: Outgoing, abilities: Abilities): Promise<Outgoing | { readonly event: Event }> {
  const event = tooLarge(message.size, abilities)
  if (event !== undefined) return { event }
  const seen = await look(message)
  const isEightBit = seen.eightBit && !abilities.eightBit
  const size = message.size + seen.missing
  const larger = tooLarge(size, abilities)
  if (larger !== undefined) return { event: larger }
  const asItIs = seen.missing === 0 ? message : { ...message, size }
  if (!isEightBit && !seen.tooLong) return asItIs
  const plan = await planRewriting(message.peek(), isEightBit)
  if ('problem' in plan) {
    // Most servers take longer lines than they have to, so that what cannot be changed is tried as it is.
    if (!isEightBit) return asItIs
    return { event: unfit('5.6.3', `the server takes only 7-bit text (no 8BITMIME), and ${plan.problem}`) }
  }
  if (plan.encodings.size === 0) return asItIs
  let longer = 0
  for await (const piece of rewritten(message.peek(), plan)) longer += (piece as Buffer).length
  const grown = tooLarge(longer, abilities)
  if (grown !== undefined) return { event: grown }
  return {
    ...message,
    size: longer,
    peek: () => rewritten(message.peek(), plan),
    scan: visit => scanStream(rewritten(message.peek(), plan), visit),
    open: progress => rewritten(message.open(progress), plan),
    small: undefined,
  }
}

async function look(message: Outgoing): Promise<Lines> {
  const lines = lineWatch()
  await message.scan(piece => lines.look(piece))
  return lines
}

function tooLarge(size: number, { maxSize }: Abilities): Event | undefined {
  if (maxSize === undefined || size <= maxSize) return undefined
  return unfit('5.3.4', `the message has ${size} bytes, the server takes no more than ${maxSize}`)
}
