/**
 * What is wrong with a spool as a whole, said once: two parts of the daemon meet the same trouble (one looks after the directories,
 * one takes messages), and meet it again and again until it is over.
 */
import { MaildropError, messageOf, spoolError } from '../errors.ts'
import type { Log } from './log.ts'

type Part = 'care' | 'delivery'

export interface Trouble {
  /** Says what a part met, unless it said the same before, or the other part has said what is wrong. */
  begin(part: Part, error: unknown): void
  /** Something has worked for that part. */
  end(part: Part): void
}

export function openTrouble(spool: string, log: Log): Trouble {
  const texts = new Map<Part, string>()
  return {
    begin(part, error) {
      const text = messageOf(error instanceof MaildropError ? error : spoolError('use', spool, error))
      const last = texts.get(part)
      const known = text === last || (last === undefined && texts.size > 0)
      texts.set(part, text)
      if (!known) log.line('trouble', { spool, text })
    },
    end: part => void texts.delete(part),
  }
}
