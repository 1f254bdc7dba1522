/** `export-dir`: a subtree as ordinary files, for editors and version control; import-dir is the way back. */
import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { Folder, ObjectError } from '../../objects/index.ts'
import type { TreeCommand, Typed } from '../command.ts'
import { considerate } from '../considerate.ts'
import { writeTree } from '../files/write-tree.ts'
import { cell, count } from '../output.ts'
import { nameOf, objectAt, reading } from '../places.ts'
import { quoted } from '../quoted.ts'
import { typeOf } from '../types.ts'

interface Args {
  readonly path: string
  /** Absolute. */
  readonly directory: string
  readonly force: boolean
}

interface Result {
  readonly path: string
  readonly directory: string
  /** Files and directories that there are now, and files that are new or other than before. */
  readonly files: number
  readonly written: number
  /** Files of an earlier export that are gone, because their objects are. */
  readonly removed: readonly string[]
}

export const command: TreeCommand<Args, Result> = {
  reads: true,
  positionals: [
    { name: 'path', describe: 'a folder', required: true, kind: 'path' },
    {
      name: 'directory',
      describe: 'a new or empty directory, or one of an earlier export-dir',
      required: true,
      kind: 'directory',
    },
  ],
  options: {
    force: { type: 'boolean', alias: 'f', default: false, describe: 'overwrite files that were edited since' },
  },
  examples: [
    ['export-dir /shop pages', 'the templates, files and folders of /shop, as files'],
    ['export-dir /shop shop --force', 'again, over what was edited meanwhile'],
  ],
  prepare: ({ path, directory, force }: Typed) => ({
    path: path as string,
    directory: real(resolve(directory as string)),
    force: force as boolean,
  }),
  run: ({ db, progress, signal, watched }, { path, directory, force }) =>
    reading(db, undefined, async app => {
      const folder = objectAt(app, path)
      if (!(folder instanceof Folder))
        throw new ObjectError(
          'WRONG_TYPE',
          `${nameOf(folder)} is a ${typeOf(folder)}, expected a folder; see objtree export`,
        )
      const total = watched ? await filesIn(folder, considerate(signal)) : 0
      let done = 0
      const wrote = () => {
        signal.throwIfAborted()
        done += 1
        if (watched) progress({ unit: 'files', done, total: Math.max(total, done), about: true })
      }
      const result = await writeTree(folder, directory, { force, wrote })
      return { path: nameOf(folder), directory, ...result }
    }),
  print({ path, directory, files, written, removed }, out) {
    out.line(`${cell(path)} is in ${directory}: ${count(files, 'file')}, ${written} of them written anew`)
    for (const file of removed) out.line(`removed ${cell(file)}`)
    out.line(`bring changes back with: objtree import-dir ${quoted(directory)} ${cell(quoted(path))}`)
  },
}

/** How many files it becomes, or a few more: a mail host is none. */
async function filesIn(folder: Folder, pause: () => Promise<void>): Promise<number> {
  let files = folder.size
  for (const inner of folder.values(Folder)) {
    await pause()
    files += (await filesIn(inner, pause)) - 1
  }
  return files
}

/** The directory itself may be reached through a link; nothing in it may be one. */
export function real(directory: string): string {
  if (existsSync(directory)) return realpathSync(directory)
  const parent = dirname(directory)
  return existsSync(parent) ? join(realpathSync(parent), basename(directory)) : directory
}
