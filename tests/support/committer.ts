/**
 * A process for crash tests: commits for ever into the database at argv[2], 20 objects at a time, two transactions beside each other,
 * and prints the number of each commit once it is acknowledged.
 */
import { writeSync } from 'node:fs'
import { Item, openTestDatabase } from './database.ts'

const db = await openTestDatabase(process.argv[2]!)

for (;;) {
  const numbers = await Promise.all([
    db.transact(
      root => {
        root.n += 1
        for (let i = 0; i < 20; i++) {
          const item = root.tree.get(i)
          if (item instanceof Item) item.label = `${root.n}`
          else root.tree.set(i, new Item(`${root.n}`))
        }
        return root.n
      },
      { attempts: 1000 },
    ),
    db.transact(root => void root.tree.set(`extra ${Math.random()}`, 'x'.repeat(500)), { attempts: 1000 }),
  ])
  writeSync(1, `${numbers[0]}\n`)
}
