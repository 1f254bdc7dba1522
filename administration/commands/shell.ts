/**
 * `shell`: JavaScript on the open tree.
 *
 * It evaluates what is typed, so it does it in its own process only: an application that has the database open evaluates nothing that comes
 * through its socket. Then the shell works in that database as a guest (administration/remote): it has connections, objects and classes of its
 * own, and the application's storage decides what is committed. Where nobody has it open, the commands of others are carried out in the shell.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { type Application, type Database, ObjectError, openDatabase } from '../../objects/index.ts'
import type { DirectoryCommand, Place } from '../command.ts'

/** Milliseconds to wait for a process that has the database open and does not answer: it may be opening or closing it. */
const PATIENCE = 5000

export const command: DirectoryCommand<object, null> = {
  works: 'directory',
  examples: [
    ['shell', 'look around: app.ids(), app.traverse("/mail/XYZ"); change something; await commit()'],
    ['shell --require ./dist/classes.js', 'with the classes of an application'],
  ],
  async run(place) {
    const { shell } = await import('../shell.ts')
    const db = await opened(place)
    try {
      await shell(db, place.user)
    } finally {
      await db.close()
    }
    return null
  },
  print: () => undefined,
}

/** The database, opened here or as a guest of the process that has it open. @throws {ObjectError} DATABASE_LOCKED if neither is possible */
async function opened({ directory, user, signal }: Place): Promise<Database<Application>> {
  const until = performance.now() + PATIENCE
  for (;;) {
    try {
      return await openDatabase(directory, { create: false })
    } catch (error) {
      if (!(error instanceof ObjectError) || error.code !== 'DATABASE_LOCKED') throw error
      const { openElsewhere } = await import('../remote/open.ts')
      const guest = await openElsewhere(directory, user)
      if (guest !== undefined) return guest
      if (performance.now() > until) throw error
    }
    await delay(100, undefined, { signal })
  }
}
