/** A process that writes blobs for ever, one transaction each, and prints a line for each commit: blobber.ts DIRECTORY */
import { writeSync } from 'node:fs'
import { Blob, type Connection } from '../../lib/index.ts'
import { openTestDatabase } from './database.ts'

const db = await openTestDatabase(process.argv[2])
for (;;) {
  await db.transact(async root => {
    root.n += 1
    const blob = new Blob()
    root.tree.set(root.n, blob)
    ;(root._p_jar as Connection).add(blob)
    await blob.write(String(root.n % 10).repeat(200_000))
  })
  writeSync(1, '.\n')
}
