/**
 * Choosing messages: by state, id, sender, recipient and age. A message has to pass everything that is given.
 *
 * A pattern with `*` or `?` has to match as a whole, any other is looked for anywhere; upper and lower case are the same.
 * The pattern `<>` is the null sender.
 */
import { type MailPlace, type QueuedMail, walkSpool } from './listing.ts'

export interface MailFilter {
  readonly states?: readonly QueuedMail['status'][] | undefined
  readonly id?: string | undefined
  readonly from?: string | undefined
  /** Matches if one of the recipients does. */
  readonly to?: string | undefined
  /** Seconds since the message arrived: at least, at most. */
  readonly older?: number | undefined
  readonly younger?: number | undefined
}

/** The messages of all spools that pass, one after the other. */
export async function* selectMail(spools: readonly string[], filter: MailFilter): AsyncGenerator<QueuedMail> {
  const { states, id, from, to, older, younger } = filter
  const isId = matcher(id)
  const isFrom = matcher(from)
  const isTo = matcher(to)
  // What the name tells is asked first: it needs no file to be opened.
  const byName = (place: MailPlace): boolean => (states?.includes(place.status) ?? true) && isId(place.id)
  for (const spool of spools) {
    for await (const mail of walkSpool(spool, byName)) {
      const age = (Date.now() - Date.parse(mail.arrived)) / 1000
      if (from !== undefined && (mail.from === undefined || !isFrom(mail.from || '<>'))) continue
      if (to !== undefined && !mail.recipients.some(({ address }) => isTo(address))) continue
      if ((older !== undefined && age < older) || (younger !== undefined && age > younger)) continue
      yield mail
    }
  }
}

function matcher(pattern: string | undefined): (text: string) => boolean {
  if (pattern === undefined) return () => true
  const lower = pattern.toLowerCase()
  if (!/[*?]/.test(lower)) return text => text.toLowerCase().includes(lower)
  const parts = lower.split('*')
  return text => matches(text.toLowerCase(), parts)
}

/** Takes each part between two `*` at the first place where it fits, so that no pattern takes long. */
function matches(text: string, parts: readonly string[]): boolean {
  const [first = '', ...others] = parts
  const last = others.pop()
  if (!fits(text, 0, first)) return false
  if (last === undefined) return text.length === first.length
  let at = first.length
  for (const part of others) {
    while (at <= text.length && !fits(text, at, part)) at += 1
    at += part.length
  }
  return text.length - last.length >= at && fits(text, text.length - last.length, last)
}

function fits(text: string, at: number, part: string): boolean {
  if (at + part.length > text.length) return false
  for (let i = 0; i < part.length; i++) if (part[i] !== '?' && part[i] !== text[at + i]) return false
  return true
}
