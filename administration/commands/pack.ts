/** `pack`: forgets history, and removes objects that nothing refers to any more. */
import type { PackProgress } from '../../lib/index.ts'
import type { Moment } from '../../objects/index.ts'
import type { Context, DryRun, Progress, TreeCommand } from '../command.ts'
import { count, when } from '../output.ts'
import { momentOf, timeOf } from '../places.ts'
import { step, totals } from '../progress-total.ts'

interface Args extends DryRun {
  readonly before?: string
  readonly gc: boolean
}

interface Result {
  /** ISO 8601: what was before is forgotten. */
  readonly before: string
  readonly packed: number | null
  /** Objects that were removed, earlier revisions of others, and transactions of which nothing is left; null in a dry run. */
  readonly objects: number | null
  readonly revisions: number | null
  readonly transactions: number
}

export const command: TreeCommand<Args, Result> = {
  destructive: true,
  options: {
    before: {
      type: 'string',
      kind: 'transaction',
      describe: 'forget what was before: a transaction, a date, or an age [default: now]',
    },
    gc: { type: 'boolean', default: true, describe: 'remove objects that nothing refers to; --no-gc keeps them' },
  },
  examples: [
    ['pack --before 2026-01-01 --dry-run', 'tell how much would be forgotten'],
    ['pack --before 30d --yes', 'keep the last thirty days'],
    ['pack --yes', 'forget all history'],
  ],
  async run(context, { before, gc, dryRun }) {
    const moment = before === undefined ? new Date() : momentOf(before, '--before')
    if (dryRun)
      return {
        before: isoOf(moment),
        packed: null,
        objects: null,
        revisions: null,
        transactions: await countUpTo(context, moment),
      }
    const { objects, revisions, transactions, records } = await totals(context)
    const phases: Record<PackProgress['phase'], Omit<Progress, 'done'>> = {
      mark: { unit: 'objects reached', ...objects, about: true },
      sweep: { unit: 'records looked at', ...(gc ? records : revisions) },
      forget: { unit: 'transactions looked at', ...transactions, about: true },
      compact: { unit: 'compacting', total: 4 },
    }
    const progress = ({ phase, done }: PackProgress) => step(context, { ...phases[phase], done })
    const result = await context.db.pack({ before: moment, gc, progress })
    return { ...result, before: timeOf(result.packed) }
  },
  print({ before, packed, objects, revisions, transactions }, out) {
    if (packed === null || objects === null || revisions === null) {
      out.line(
        `would forget what ${count(transactions, 'transaction')} up to ${when(before)} changed, and objects that nothing refers to any more`,
      )
      out.line("this cannot be undone; 'objtree backup DIRECTORY' keeps all of it")
      return
    }
    out.line(
      `packed up to ${when(before)}: ${count(revisions, 'earlier revision')} and ${count(transactions, 'transaction')} forgotten, ${count(objects, 'object')} removed`,
    )
  },
}

const isoOf = (moment: Moment): string => (moment instanceof Date ? moment.toISOString() : timeOf(moment))

async function countUpTo({ db }: Context, moment: Moment): Promise<number> {
  const last = moment instanceof Date ? moment.getTime() * 1000 + 999 : moment
  let found = 0
  await db.undoLog({
    last: 1,
    filter: ({ tid }) => {
      if (tid <= last) found += 1
      return false
    },
  })
  return found
}
