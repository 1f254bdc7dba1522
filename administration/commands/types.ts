/** `types`: what `add` can make, and what can be set of it. */
import type { TreeCommand } from '../command.ts'
import { cell } from '../output.ts'
import { addableTypes, declaredBy, isOwn } from '../types.ts'

interface TypeDescription {
  readonly type: string
  /** The version of its state. */
  readonly version: number
  /** Whether the application brought it. */
  readonly own: boolean
  readonly properties: readonly {
    readonly name: string
    readonly type: string
    /** Null if there are none, or if they depend on the object. */
    readonly choices: readonly string[] | null
    readonly description: string
  }[]
}

export const command: TreeCommand<object, TypeDescription[]> = {
  reads: true,
  examples: [['types', 'what there is']],
  run: () =>
    addableTypes().map(entry => ({
      type: entry.name,
      version: entry.version,
      own: isOwn(entry),
      properties: Object.entries(declaredBy(entry)).map(([name, { type, choices, description }]) => ({
        name,
        type,
        choices: Array.isArray(choices) ? choices : null,
        description,
      })),
    })),
  print(types, out) {
    out.table(
      ['type', 'property', 'of type', 'description'],
      types.flatMap(({ type, properties }) =>
        properties.length === 0
          ? [[cell(type), '', '', '']]
          : properties.map(({ name, type: of, choices, description }, i) => [
              i === 0 || !out.terminal ? cell(type) : '',
              cell(name),
              choices === null ? of : choices.map(choice => cell(choice)).join(' or '),
              cell(description),
            ]),
      ),
    )
  },
}
