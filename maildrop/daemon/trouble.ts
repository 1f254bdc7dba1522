/**
 * What is wrong with a spool as a whole, said once: several parts of the daemon meet the same trouble (one looks after the directories,
 * one takes messages, one writes down what became of them, one shows that we live), and meet it again and again until it is over.
 */
import { MaildropError, messageOf, spoolError, systemCode } from '../errors.ts'
import type { Log } from './log.ts'

type Part = 'care' | 'delivery' | 'record' | 'heartbeat'

export interface Trouble {
  /** Says what a part met, unless it met the same before (with whichever file), or another part has said what is wrong. */
  begin(part: Part, error: unknown): void
  /** Something has worked for that part. */
  end(part: Part): void
  /** What is wrong now. */
  readonly text: string | undefined
}

export function openTrouble(spool: string, log: Log): Trouble {
  const kinds = new Map<Part, string>()
  let text: string | undefined
  return {
    begin(part, error) {
      const known = error instanceof MaildropError ? error : spoolError('use', spool, error)
      const kind = systemCode(known.cause) ?? known.code
      const last = kinds.get(part)
      const said = kind === last || (last === undefined && kinds.size > 0)
      kinds.set(part, kind)
      if (said) return
      text = messageOf(known)
      log.line('trouble', { spool, text })
    },
    end: part => void kinds.delete(part),
    get text() {
      return kinds.size === 0 ? undefined : text
    },
  }
}
