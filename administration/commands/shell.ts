/**
 * `shell`: JavaScript on the open tree.
 *
 * It evaluates what is typed, so it does it in its own process only: an application that has the database open evaluates nothing that comes
 * through its socket. While the shell is open, the commands of others are carried out in it.
 */
import { ObjectError, openDatabase } from '../../objects/index.ts'
import type { DirectoryCommand } from '../command.ts'

export const command: DirectoryCommand<object, null> = {
  works: 'directory',
  examples: [
    ['shell', 'look around: app.ids(), app.traverse("/mail/XYZ"); change something; await commit()'],
    ['shell --require ./dist/classes.js', 'with the classes of an application'],
  ],
  async run({ directory, user }) {
    const { shell } = await import('../shell.ts')
    const db = await openDatabase(directory, { create: false }).catch(cause => {
      if (!(cause instanceof ObjectError) || cause.code !== 'DATABASE_LOCKED') throw cause
      const why =
        'the shell runs code, so it needs the database in a process of its own; the other commands work meanwhile'
      throw new ObjectError('DATABASE_LOCKED', `${cause.message}; ${why}`, { cause })
    })
    try {
      await shell(db, user)
    } finally {
      await db.close()
    }
    return null
  },
  print: () => undefined,
}
