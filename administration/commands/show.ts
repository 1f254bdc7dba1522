/** `show`: all properties of an object, with their types; of a mail host, also where its mail goes. */
import { Broken, MaildropHost } from '../../objects/index.ts'
import type { TreeCommand } from '../command.ts'
import { mailSettings } from '../mail-settings.ts'
import { cell, when } from '../output.ts'
import { momentOf, objectAt, reading } from '../places.ts'
import { attributesOf } from '../values.ts'
import { entryOf } from './ls.ts'

interface Args {
  readonly path: string
  readonly at?: string
}

interface Result {
  readonly path: string
  readonly oid: number
  readonly type: string
  /** True if the class is not known here: the object is kept as it is, and cannot be changed. */
  readonly broken: boolean
  readonly size: number | null
  readonly changed: string
  readonly tid: number
  readonly properties: Readonly<Record<string, unknown>>
  readonly types: Readonly<Record<string, string>>
  readonly settings?: Readonly<Record<string, unknown>>
}

export const command: TreeCommand<Args, Result> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'the object: a path, or oid:NUMBER', default: '/', kind: 'path' }],
  options: { at: { type: 'string', kind: 'transaction', describe: 'as it was then: a transaction, or a date' } },
  examples: [
    ['show /mail/XYZ', 'the mail host, and the settings of its mail'],
    ['show oid:1 --json', 'by object id, for programs'],
  ],
  run: ({ db }, { path, at }) =>
    reading(db, at === undefined ? undefined : momentOf(at, '--at'), app => {
      const object = objectAt(app, path)
      const shown = Object.entries(attributesOf(object))
      const { path: name, oid, type, size, changed } = entryOf(object)
      return {
        path: name,
        oid,
        type,
        broken: object instanceof Broken,
        size,
        changed,
        tid: object._p_serial as number,
        properties: Object.fromEntries(shown.map(([key, { value }]) => [key, value])),
        types: Object.fromEntries(shown.map(([key, { type }]) => [key, type])),
        ...(object instanceof MaildropHost && { settings: mailSettings(object) }),
      }
    }),
  print({ properties, types, settings = {}, broken, ...head }, out) {
    const rows: [string, string, unknown][] = [
      ...Object.entries({ ...head, changed: when(head.changed) })
        .filter(([, value]) => value !== null)
        .map(([name, value]): [string, string, unknown] => [name, '', value]),
      ...Object.entries(properties).map(([name, value]): [string, string, unknown] => [name, types[name] ?? '', value]),
      ...Object.entries(settings).map(([name, value]): [string, string, unknown] => [name, '', value ?? '']),
    ]
    const widths = [0, 1].map(i => Math.max(...rows.map(row => cell(row[i]).length)))
    for (const [name, type, value] of rows)
      out.line(
        `${out.style('bold', cell(name).padEnd(widths[0]!))}  ${out.style('dim', type.padEnd(widths[1]!))}  ${out.short(cell(value))}`,
      )
    if (broken)
      out.line(
        out.style(
          'yellow',
          `the class '${cell(head.type)}' is not known here; see --require. The object is kept as it is`,
        ),
      )
  },
}
