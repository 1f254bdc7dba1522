/**
 * An application that has the database `data/objects` of its directory open: it opens it when it is told `open` (and says `opened`), closes it when it
 * is told `close` (and says `closed`).
 */
import { type Application, type Database, openDatabase } from '../../objects/index.ts'

let db: Database<Application> | undefined
process.on('message', async (order: 'open' | 'close') => {
  if (order === 'open') db = await openDatabase('data/objects')
  else await db?.close()
  process.send?.(order === 'open' ? 'opened' : 'closed')
})
process.send?.('ready')
