/** `ls`, `tree` and `show`. */
import Table from 'cli-table3'
import { say } from '../../maildrop/commands/output.ts'
import { Folder, MaildropHost, type Persistent, propertiesOf } from '../../objects/index.ts'
import { inTree, type Session } from '../session.ts'
import { typeOf } from '../types.ts'

interface Entry {
  readonly name: string
  readonly path: string
  readonly type: string
  readonly title: string
}

const entryOf = (object: Persistent): Entry => ({
  name: object.__name__ ?? '/',
  path: object.physicalPath,
  type: typeOf(object),
  title: 'title' in object ? String(object.title) : '',
})

/** A folder's children, or the object itself. */
export async function ls(session: Session, path: string, json: boolean): Promise<void> {
  const entries = await inTree(session, app => {
    const object = app.traverse(path)
    return (object instanceof Folder ? object.values() : [object]).map(entryOf)
  })
  if (json) return say(JSON.stringify(entries, null, 2))
  if (!process.stdout.isTTY) {
    for (const { name, type, title } of entries) say([name, type, line(title)].join('\t'))
    return
  }
  if (entries.length === 0) return say('(empty)')
  const table = new Table({ head: ['name', 'type', 'title'], style: { head: [], compact: true } })
  table.push(...entries.map(({ name, type, title }) => [name, type, line(title)]))
  say(table.toString())
}

interface Branch extends Entry {
  readonly children?: Branch[]
}

const branchOf = (object: Persistent): Branch =>
  object instanceof Folder ? { ...entryOf(object), children: object.values().map(branchOf) } : entryOf(object)

export async function tree(session: Session, path: string, json: boolean): Promise<void> {
  const branch = await inTree(session, app => branchOf(app.traverse(path)))
  if (json) return say(JSON.stringify(branch, null, 2))
  say(`${branch.path}  ${branch.type}`)
  draw(branch.children ?? [], '')
}

function draw(children: readonly Branch[], indent: string): void {
  for (const [i, child] of children.entries()) {
    const last = i === children.length - 1
    say(`${indent}${last ? '└── ' : '├── '}${child.name}  ${child.type}`)
    draw(child.children ?? [], indent + (last ? '    ' : '│   '))
  }
}

export async function show(session: Session, path: string, json: boolean): Promise<void> {
  const shown = await inTree(session, app => {
    const object = app.traverse(path)
    const declared = Object.keys(propertiesOf(object))
    const own = Object.keys(object).filter(name => !(object instanceof Folder) || declared.includes(name))
    const properties = Object.fromEntries(
      [...new Set([...declared, ...own])].map(name => [name, plain(Reflect.get(object, name))]),
    )
    const settings = object instanceof MaildropHost ? object.settings() : undefined
    const { path: where, type } = entryOf(object)
    return {
      path: where,
      type,
      oid: object._p_oid,
      ...(object instanceof Folder && { size: object.size }),
      properties,
      ...(settings && { settings }),
    }
  })
  if (json) return say(JSON.stringify(shown, null, 2))
  const { properties, settings, ...head } = shown
  for (const [name, value] of Object.entries({ ...head, ...properties, ...settings }))
    say(`${name.padEnd(14)} ${line(value)}`)
}

/** A value as JSON can say it. */
function plain(value: unknown): unknown {
  if (value === undefined) return null
  return JSON.parse(JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}n` : each)) ?? 'null')
}

/** A value on one line, without anything that a terminal would obey. */
function line(value: unknown): string {
  if (typeof value === 'string' && !/\p{Cc}/u.test(value)) return value
  return JSON.stringify(value).replace(/\p{Cc}/gu, each => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
