/** Reads what can be read of a damaged database, and prints it: salvager.ts DIRECTORY */
import { codeOf, openTestDatabase } from './database.ts'
import { readAll } from './readable.ts'

const db = await openTestDatabase(process.argv[2], { salvage: true })
const { labels } = await readAll(db)
const write = await codeOf(() => db.transact(root => void (root.n = 1)))
const { ok } = await db.verify()
process.stdout.write(JSON.stringify({ labels, write, ok, damage: db.damage }))
await db.close()
