/** `tree`: a subtree, drawn. */
import { Folder, type Persistent } from '../../objects/index.ts'
import type { TreeCommand } from '../command.ts'
import { considerate } from '../considerate.ts'
import { cell, type Output } from '../output.ts'
import { momentOf, objectAt, reading } from '../places.ts'
import { WrongUsage } from '../wrong-usage.ts'
import { type Entry, entryOf } from './ls.ts'

interface Args {
  readonly path: string
  readonly depth?: number
  readonly at?: string
}

interface Branch extends Entry {
  /** Of folders; left out where `--depth` ends. */
  readonly children?: Branch[]
}

async function branchOf(object: Persistent, depth: number, pause: () => Promise<void>): Promise<Branch> {
  await pause()
  if (!(object instanceof Folder) || depth <= 0) return entryOf(object)
  const children: Branch[] = []
  for (const child of object.values()) children.push(await branchOf(child, depth - 1, pause))
  return { ...entryOf(object), children }
}

export const command: TreeCommand<Args, Branch> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'where to begin', default: '/', kind: 'path' }],
  options: {
    depth: { type: 'number', alias: 'L', describe: 'go so many levels down at most' },
    at: { type: 'string', kind: 'transaction', describe: 'as it was then: a transaction, or a date' },
  },
  examples: [
    ['tree', 'everything'],
    ['tree /shop --depth 1', 'one level'],
  ],
  run({ db, signal }, { path, depth = Number.POSITIVE_INFINITY, at }) {
    if (!(depth >= 0)) throw new WrongUsage(`--depth: expected a number from 0, found ${depth}`)
    return reading(db, at === undefined ? undefined : momentOf(at, '--at'), app =>
      branchOf(objectAt(app, path), depth, considerate(signal)),
    )
  },
  print(branch, out) {
    out.line(`${cell(branch.path)}  ${out.style('dim', cell(branch.type))}`)
    draw(branch.children ?? [], '', out)
  },
}

function draw(children: readonly Branch[], indent: string, out: Output): void {
  for (const [i, child] of children.entries()) {
    const last = i === children.length - 1
    const more = child.children === undefined && child.size !== null && /Folder$/.test(child.type) && child.size > 0
    const name = child.children === undefined ? cell(child.name) : out.style('bold', cell(child.name))
    out.line(
      `${indent}${last ? '└── ' : '├── '}${name}  ${out.style('dim', cell(child.type))}${more ? `  (${child.size} in it)` : ''}`,
    )
    draw(child.children ?? [], indent + (last ? '    ' : '│   '), out)
  }
}
