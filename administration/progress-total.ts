/** The progress of what goes through all records, with their number if somebody looks. */
import type { Context } from './command.ts'

export async function counting({ db, watched, progress }: Context, unit: string): Promise<(done: number) => void> {
  if (!watched) return () => undefined
  const total = await db.countRecords()
  return done => progress({ unit, done, total })
}
