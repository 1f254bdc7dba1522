/** `import-dir`: a directory of files into the tree, in one transaction; what is there already is changed where it differs. */
import { resolve } from 'node:path'
import { Folder, ObjectError } from '../../objects/index.ts'
import { changing, undoHint } from '../changing.ts'
import type { DryRun, TreeCommand, Typed } from '../command.ts'
import { considerate } from '../considerate.ts'
import { countEntries } from '../files/disk.ts'
import { readTree } from '../files/read-tree.ts'
import { cell, count } from '../output.ts'
import { destination, found } from '../places.ts'
import { typeOf } from '../types.ts'
import { real } from './export-dir.ts'

interface Args extends DryRun {
  /** Absolute. */
  readonly directory: string
  readonly path: string
  readonly delete: boolean
}

interface Result {
  readonly directory: string
  readonly path: string
  /** Paths of objects. */
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  readonly unchanged: number
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  destructive: true,
  positionals: [
    { name: 'directory', describe: 'the directory', required: true, kind: 'directory' },
    { name: 'path', describe: 'the folder that it is to be; made if there is nothing', required: true, kind: 'path' },
  ],
  options: {
    delete: { type: 'boolean', default: false, describe: 'remove objects that the directory does not have' },
  },
  examples: [
    ['import-dir shop /shop --dry-run', 'tell what would change'],
    ['import-dir shop /shop --delete --yes', 'make the folder what the directory is'],
    ['import-dir shop /shop-test', 'as a new folder'],
  ],
  prepare: ({ directory, path, delete: remove }: Typed) => ({
    directory: real(resolve(directory as string)),
    path: path as string,
    delete: remove as boolean,
  }),
  async run(context, { directory, path, delete: remove, dryRun }) {
    const { watched, signal, progress } = context
    const total = watched ? await countEntries(directory, considerate(signal)) : 0
    const { value, tid } = await changing(
      context,
      async app => {
        let done = 0
        const read = () => {
          signal.throwIfAborted()
          done += 1
          if (watched) progress({ unit: 'files', done, total: Math.max(total, done) })
        }
        const there = found(app, path)
        if (there !== undefined && !(there instanceof Folder))
          throw new ObjectError('WRONG_TYPE', `${path} is a ${typeOf(there)}, expected a folder, or nothing`)
        const { folder: parent, name: id } =
          there === undefined ? destination(app, path, '') : { folder: app, name: '' }
        const place = there === undefined ? { parent, id } : undefined
        return await readTree(directory, there, place, { delete: remove, read })
      },
      dryRun,
    )
    const { added, changed, removed, unchanged } = value
    return { directory, path, added: [...added], changed: [...changed], removed: [...removed], unchanged, tid }
  },
  asks: ({ changed, removed }) => changed.length + removed.length > 0,
  print({ path, added, changed, removed, unchanged, tid }, out, { dryRun }) {
    for (const each of added) out.line(out.style('green', `+ ${cell(each)}`))
    for (const each of changed) out.line(out.style('yellow', `~ ${cell(each)}`))
    for (const each of removed) out.line(out.style('red', `- ${cell(each)}`))
    out.line(
      `${cell(path)}: ${dryRun ? 'would be ' : ''}${count(added.length, 'object')} added, ${changed.length} changed, ${removed.length} removed, ${unchanged} as before`,
    )
    if (tid !== null) out.line(undoHint(tid))
  },
}
