/**
 * How far long work is, with the total and so the time left, if somebody looks. Each step is also where work ends that nobody wants any more.
 */
import type { RecordCounts } from '../lib/index.ts'
import type { Context, Progress } from './command.ts'

type Step = (done: number) => void

/** For what goes through all records. */
export async function counting(context: Context, unit: string): Promise<Step> {
  const { records } = await totals(context)
  return done => step(context, { unit, done, ...records })
}

/** Reports, unless the user wants no more: that is thrown, which ends the work. */
export function step({ signal, watched, progress }: Context, state: Progress): void {
  signal.throwIfAborted()
  if (watched) progress(state)
}

type Total = Pick<Progress, 'total'>

/** What there is in the database; empty if nobody looks, because counting takes a while. */
export async function totals({ db, watched }: Context): Promise<Record<keyof RecordCounts | 'records', Total>> {
  if (!watched) return { objects: {}, revisions: {}, transactions: {}, records: {} }
  const { objects, revisions, transactions } = await db.countRecords()
  return {
    objects: { total: objects },
    revisions: { total: revisions },
    transactions: { total: transactions },
    records: { total: objects + revisions },
  }
}
