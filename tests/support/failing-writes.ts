/** Writes of a database that fail at the moment that a test chooses. */
import type { Level } from '../../lib/index.ts'

interface Stored {
  readonly storage: object
}

/** LevelDB under a database. */
export const levelOf = (db: Stored): Level => (db.storage as { level: Level }).level

/**
 * Has the next write of more than one row fail.
 * @param written whether it is on disk nevertheless
 */
export function failNextWrite(db: Stored, { written = false } = {}): void {
  const level = levelOf(db)
  const batch = Object.getPrototypeOf(level).batch.bind(level) as () => ReturnType<Level['batch']>
  level.batch = (() => {
    const one = batch()
    const write = one.write.bind(one)
    one.write = (async (options: object) => {
      if (one.length < 2) return await write(options)
      Reflect.deleteProperty(level, 'batch')
      if (written) await write(options)
      else await one.close()
      throw new Error('no answer from the disk')
    }) as typeof one.write
    return one
  }) as typeof level.batch
}
