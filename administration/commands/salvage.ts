/**
 * `salvage`: a new database of what can be read of a damaged one, object by object, with a list of what cannot.
 *
 * LevelDB may end the process at the damage. What was brought over by then is in the new database, and `--skip` passes over the object at which
 * it ended. Where LevelDB's list of its files is damaged it is made anew, which changes the directory: work on a copy.
 */
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  type Application,
  type Database,
  exportTree,
  Folder,
  importTree,
  ObjectError,
  openDatabase,
  type Persistent,
} from '../../objects/index.ts'
import type { DirectoryCommand, Place, Typed } from '../command.ts'
import { attributesOf, setAttributes } from '../files/attributes.ts'
import { cell, count } from '../output.ts'
import { newObject, typeOf } from '../types.ts'

interface Args {
  /** The new database, absolute. */
  readonly to: string
  readonly skip: readonly string[]
}

interface Result {
  readonly directory: string
  readonly to: string
  /** Files that are damaged. */
  readonly damage: readonly string[]
  /** How many objects were brought over. */
  readonly objects: number
  readonly lost: readonly { readonly path: string; readonly reason: string }[]
}

export const command: DirectoryCommand<Args, Result> = {
  works: 'directory',
  positionals: [
    {
      name: 'to',
      describe: 'directory of the new database; must not exist, or be empty',
      required: true,
      kind: 'directory',
    },
  ],
  options: {
    skip: { type: 'string', many: true, kind: 'path', describe: 'pass over this object; may be given several times' },
  },
  examples: [['salvage data/salvaged', 'bring over what can be read']],
  prepare: ({ to, skip }: Typed) => ({ to: resolve(to as string), skip: (skip as string[] | undefined) ?? [] }),
  async run(place, { to, skip }) {
    const { directory } = place
    if (existsSync(to) && (await readdir(to)).length > 0)
      throw new ObjectError('INVALID_ARGUMENT', `${to} is not empty; choose a directory that does not exist yet`)
    const from = await openDatabase(directory, { create: false, salvage: true, socket: false })
    try {
      const target = await openDatabase(to, { socket: false })
      try {
        const salvage = new Salvage(target, place, new Set(skip))
        const connection = from.open({ readOnly: true })
        await salvage.children(connection.root, '/')
        return { directory, to, damage: from.damage, objects: salvage.objects, lost: salvage.lost }
      } finally {
        await target.close()
      }
    } finally {
      await from.close()
    }
  },
  failed: ({ lost }) => lost.length > 0,
  print({ to, damage, objects, lost }, out) {
    for (const { path, reason } of lost) out.line(out.style('red', `lost ${cell(path)}: ${cell(reason)}`))
    out.line(
      `${count(objects, 'object')} brought over to ${to}, ${lost.length} lost${damage.length === 0 ? '; no file was found damaged' : `; damaged: ${damage.map(cell).join(', ')}`}`,
    )
    out.line('the history is not in it; compare with the last backup')
  },
}

class Salvage {
  objects = 0
  readonly lost: { path: string; reason: string }[] = []
  private readonly target: Database<Application>
  private readonly place: Place
  private readonly skip: ReadonlySet<string>

  constructor(target: Database<Application>, place: Place, skip: ReadonlySet<string>) {
    this.target = target
    this.place = place
    this.skip = skip
  }

  /** Brings over what is in a folder, each by itself, so that one that is damaged takes no other with it. */
  async children(folder: Folder, path: string): Promise<void> {
    for (const id of this.readable(path, () => folder.ids()) ?? []) {
      this.place.signal.throwIfAborted()
      const childPath = path === '/' ? `/${id}` : `${path}/${id}`
      if (this.skip.has(childPath)) this.lost.push({ path: childPath, reason: 'passed over' })
      else await this.child(folder, id, childPath)
      this.place.progress({ unit: 'objects', done: this.objects + this.lost.length })
    }
  }

  private async child(folder: Folder, id: string, path: string): Promise<void> {
    const object = this.readable(path, () => {
      const found = folder.get(id) as Persistent
      void found.__name__
      return found
    })
    if (object === undefined) return
    try {
      await this.change(path, async parent => {
        if (object instanceof Folder) this.folderInto(parent, id, object)
        else await importTree(parent, id, exportTree(object))
      })
      this.objects += 1
    } catch (error) {
      this.lost.push({ path, reason: (error as Error).message })
      return
    }
    if (object instanceof Folder) await this.children(object, path)
  }

  private folderInto(parent: Folder, id: string, folder: Folder): void {
    const type = typeOf(folder)
    const made = parent.add(id, newObject(type))
    const attributes = attributesOf(folder)
    if (attributes !== undefined) setAttributes(made, attributes)
    else this.lost.push({ path: folder.physicalPath, reason: 'the attributes of the folder, not what is in it' })
  }

  private change(path: string, work: (parent: Folder) => Promise<void>): Promise<void> {
    const parent = path.slice(0, path.lastIndexOf('/')) || '/'
    return this.target.transact(app => work(app.traverse(parent, Folder)), {
      user: this.place.user,
      note: `salvage of ${path}`,
    })
  }

  private readable<T>(path: string, read: () => T): T | undefined {
    try {
      return read()
    } catch (error) {
      this.lost.push({ path, reason: (error as Error).message })
      return undefined
    }
  }
}
