/** `add`: a new object. */
import { type Assignment, assign, assignmentsOf } from '../assignments.ts'
import { changing } from '../changing.ts'
import type { TreeCommand, Typed } from '../command.ts'
import { cell } from '../output.ts'
import { newObject } from '../types.ts'

interface Args {
  readonly type: string
  readonly path: string
  readonly assignments: readonly Assignment[]
  readonly parents: boolean
}

interface Result {
  readonly type: string
  readonly path: string
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  positionals: [
    { name: 'type', describe: "the object's type; 'objtree types' lists them", required: true, kind: 'type' },
    { name: 'path', describe: 'where it is to be', required: true, kind: 'path' },
    {
      name: 'properties',
      describe: 'key=value; key=@FILE takes the value from a file',
      many: true,
      kind: 'assignment',
    },
  ],
  options: {
    parents: { type: 'boolean', alias: 'p', default: false, describe: 'make the folders that are missing on the way' },
  },
  examples: [
    ['add MaildropHost /post/XYZ --parents', 'a mail host'],
    ['add Template /shop/thanks source=@welcome.hbs title="Thank you"', 'a page, from a file'],
  ],
  prepare: ({ type, path, properties, parents }: Typed) => ({
    type: type as string,
    path: path as string,
    assignments: assignmentsOf(properties as string[]),
    parents: parents as boolean,
  }),
  async run(context, { type, path, assignments, parents }) {
    const { value, tid } = await changing(context, async app => {
      const object = app.create(path, newObject(type), { parents })
      await assign(object, assignments)
      return object.physicalPath
    })
    return { type, path: value, tid }
  },
  print: ({ type, path }, out) => out.line(`added ${cell(type)} ${cell(path)}`),
}
