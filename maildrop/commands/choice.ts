/**
 * The options that choose messages, the same for every command that has them.
 */
import type { Argv } from 'yargs'
import { parseDuration } from '../duration.ts'
import type { MailFilter } from '../spool/filter.ts'
import { MAIL_STATES, type QueuedMail } from '../spool/listing.ts'

export interface ChoiceOptions {
  readonly state: string | undefined
  readonly id: string | undefined
  readonly from: string | undefined
  readonly to: string | undefined
  readonly older: string | undefined
  readonly younger: string | undefined
}

export function withChoice<T>(command: Argv<T>): Argv<T & ChoiceOptions> {
  return command
    .option('state', text(`in one of these states, separated by commas: ${MAIL_STATES.join(', ')}`))
    .option('id', text('whose id matches'))
    .option('from', text('whose sender matches; <> is the null sender'))
    .option('to', text('with a recipient that matches'))
    .option('older', text('that arrived at least so long ago: 90s, 30m, 12h, 5d'))
    .option('younger', text('that arrived at most so long ago'))
    .group(['state', 'id', 'from', 'to', 'older', 'younger'], FILTERS)
    .check(({ state, older, younger }) => {
      const wrong = statesIn(state)?.find(each => !isState(each))
      if (wrong !== undefined) throw new Error(`--state: ${wrong}: expected some of ${MAIL_STATES.join(', ')}`)
      for (const [name, value] of Object.entries({ older, younger })) {
        if (value !== undefined && parseDuration(value) === undefined)
          throw new Error(`--${name}: expected a time such as 90s, 30m, 12h, 5d`)
      }
      return true
    }) as Argv<T & ChoiceOptions>
}

const FILTERS = 'Messages (with * or ? a pattern has to match as a whole, else anywhere):'

const text = (describe: string) => ({ type: 'string', requiresArg: true, describe }) as const

export function filterOf({ state, id, from, to, older, younger }: ChoiceOptions): MailFilter {
  return {
    states: statesIn(state)?.filter(isState),
    id,
    from,
    to,
    older: older === undefined ? undefined : parseDuration(older),
    younger: younger === undefined ? undefined : parseDuration(younger),
  }
}

function statesIn(text: string | undefined): string[] | undefined {
  return text?.split(',').map(each => each.trim())
}

function isState(text: string): text is QueuedMail['status'] {
  return MAIL_STATES.some(state => state === text)
}

/** True if at least one of the options is given. */
export function isChoice(options: ChoiceOptions): boolean {
  return Object.values(filterOf(options)).some(value => value !== undefined)
}
