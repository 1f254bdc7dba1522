/** `init`: a new database. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { finishExchange } from '../../lib/index.ts'
import { ObjectError, openDatabase } from '../../objects/index.ts'
import type { DirectoryCommand } from '../command.ts'

interface Result {
  readonly directory: string
  /** The database's id; null if another process has it open. */
  readonly id: string | null
  /** False if there was one already; it is left alone. */
  readonly created: boolean
}

export const command: DirectoryCommand<object, Result> = {
  works: 'directory',
  examples: [
    ['init', 'create one in data/objects'],
    ['--db data/other init', 'create one in data/other'],
  ],
  async run({ directory }) {
    finishExchange(directory)
    const created = !existsSync(join(directory, 'CURRENT'))
    try {
      const database = await openDatabase(directory, { socket: false })
      await database.close()
      return { directory, id: database.id, created }
    } catch (error) {
      if (created || !(error instanceof ObjectError) || error.code !== 'DATABASE_LOCKED') throw error
      return { directory, id: null, created }
    }
  },
  print({ directory, created }, out) {
    out.line(
      created ? `created an object database in ${directory}` : `there is an object database in ${directory} already`,
    )
  },
}
