/** `set`: properties of an object, from text, by their declared types. */
import { isDeepStrictEqual } from 'node:util'
import { type Assignment, assign, assignmentsOf } from '../assignments.ts'
import { changing } from '../changing.ts'
import type { TreeCommand, Typed } from '../command.ts'
import { cell } from '../output.ts'
import { nameOf, objectAt } from '../places.ts'
import { attributesOf } from '../values.ts'

interface Args {
  readonly path: string
  readonly assignments: readonly Assignment[]
}

interface Result {
  readonly path: string
  /** Null if the properties had these values already. */
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  positionals: [
    { name: 'path', describe: 'the object: a path, or oid:NUMBER', required: true, kind: 'path' },
    {
      name: 'properties',
      describe: 'key=value; key=@FILE takes the value from a file, key=@@text is the text @text',
      required: true,
      many: true,
      kind: 'assignment',
    },
  ],
  examples: [
    ['set /mail/XYZ title="Outgoing mail"', 'change the title'],
    ['set /shop/welcome source=@welcome.hbs contentType=text/plain', 'two properties at once'],
  ],
  prepare: ({ path, properties }: Typed) => ({
    path: path as string,
    assignments: assignmentsOf(properties as string[]),
  }),
  async run(context, { path, assignments }) {
    const { value, tid } = await changing(context, async app => {
      const object = objectAt(app, path)
      const before = attributesOf(object)
      await assign(object, assignments)
      // what is as it was is no change, and makes no transaction
      if (isDeepStrictEqual(attributesOf(object), before)) object._p_changed = false
      return nameOf(object)
    })
    return { path: value, tid }
  },
  print: ({ path, tid }, out) =>
    out.line(tid === null ? `${cell(path)} is like that already` : `changed ${cell(path)}`),
}
