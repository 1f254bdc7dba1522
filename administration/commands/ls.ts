/** `ls`: a folder's children. */
import { Folder, type Persistent } from '../../objects/index.ts'
import type { TreeCommand } from '../command.ts'
import { considerate } from '../considerate.ts'
import { cell, when } from '../output.ts'
import { momentOf, nameOf, objectAt, reading, timeOf } from '../places.ts'
import { titleOf, typeOf } from '../types.ts'
import { sizeOf } from '../values.ts'

interface Args {
  readonly path: string
  readonly long: boolean
  readonly at?: string
}

export interface Entry {
  readonly name: string
  readonly path: string
  readonly oid: number
  readonly type: string
  readonly title: string
  /** Children of a folder, bytes of a file or a template; null for others. */
  readonly size: number | null
  readonly folder: boolean
  /** When it was last written (ISO 8601); not when something in it was. */
  readonly changed: string
}

export function entryOf(object: Persistent): Entry {
  const type = typeOf(object)
  const title = titleOf(object)
  const size = sizeOf(object)
  return {
    name: object.__name__ ?? '/',
    path: nameOf(object),
    oid: object._p_oid as number,
    type,
    title,
    size,
    folder: object instanceof Folder,
    changed: timeOf(object._p_serial as number),
  }
}

export const command: TreeCommand<Args, Entry[]> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'a folder, or any object', default: '/', kind: 'path' }],
  options: {
    long: { type: 'boolean', alias: 'l', default: false, describe: 'also size and time of the last change' },
    at: { type: 'string', kind: 'transaction', describe: 'as it was then: a transaction, or a date' },
  },
  examples: [
    ['ls', 'what is in the root'],
    ['ls -l /shop', 'with sizes and times'],
    ['ls /shop --json', 'for programs'],
  ],
  run: ({ db, signal }, { path, at }) =>
    reading(db, at === undefined ? undefined : momentOf(at, '--at'), async app => {
      const object = objectAt(app, path)
      const pause = considerate(signal)
      const entries: Entry[] = []
      for (const each of object instanceof Folder ? object.values() : [object]) {
        await pause()
        entries.push(entryOf(each))
      }
      return entries
    }),
  print(entries, out, { long }) {
    if (long)
      out.table(
        ['name', 'type', 'size', 'changed', 'title'],
        entries.map(({ name, type, size, changed, title }) => [
          cell(name),
          cell(type),
          size === null ? '' : String(size),
          when(changed),
          cell(title),
        ]),
      )
    else
      out.table(
        ['name', 'type', 'title'],
        entries.map(({ name, type, title }) => [cell(name), cell(type), cell(title)]),
      )
  },
}
