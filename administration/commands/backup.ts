/** `backup`: a copy of the whole database, history and blobs included, of one moment; checked on the way. */
import { resolve } from 'node:path'
import type { BackupResult } from '../../objects/index.ts'
import type { TreeCommand, Typed } from '../command.ts'
import { count, when } from '../output.ts'
import { timeOf } from '../places.ts'
import { counting } from '../progress-total.ts'

interface Args {
  /** Absolute. */
  readonly to: string
}

export const command: TreeCommand<Args, BackupResult> = {
  positionals: [
    { name: 'to', describe: 'a directory that does not exist, or is empty', required: true, kind: 'directory' },
  ],
  examples: [['backup backups/monday', 'a copy that restore can use']],
  prepare: ({ to }: Typed) => ({ to: resolve(to as string) }),
  async run(context, { to }) {
    return await context.db.backup(to, { progress: await counting(context, 'records') })
  },
  print({ directory, tid, records, blobs }, out) {
    out.line(
      `backup in ${directory}: ${count(records, 'record')} and ${count(blobs, 'blob')}, up to transaction ${tid} at ${when(timeOf(tid))}`,
    )
    out.line(`make a database of it with: objtree restore ${directory}`)
  },
}
