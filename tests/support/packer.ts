/** A process that packs a database, to be killed meanwhile: packer.ts DIRECTORY */
import { openTestDatabase } from './database.ts'

const db = await openTestDatabase(process.argv[2])
console.log('packing')
await db.pack()
await db.close()
