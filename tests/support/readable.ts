/** What can be read of the database of tests/lib/damage.test.ts. */
import { type Database, ObjectError } from '../../lib/index.ts'
import type { Item, Root } from './database.ts'

export const OBJECTS = 40

/** Everything that can be read, each as a value or the code of the error. */
export async function readAll(db: Database<Root>): Promise<{ labels: string[]; notes: string }> {
  const connection = db.open({ readOnly: true })
  const labels: string[] = []
  for (let i = 0; i < OBJECTS; i++) labels.push(orCode(() => (connection.root.list[i] as Item).label))
  connection.close()
  const notes = await db.undoLog().then(log => log.map(({ note }) => note).join(), codeOfError)
  return { labels, notes }
}

function codeOfError(error: unknown): string {
  if (error instanceof ObjectError) return `error ${error.code}`
  throw error
}

function orCode(look: () => string): string {
  try {
    return look()
  } catch (error) {
    return codeOfError(error)
  }
}
