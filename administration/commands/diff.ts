/** `diff`: what a transaction changed, or what has changed between two moments, property by property. */
import type { TreeCommand } from '../command.ts'
import { considerate } from '../considerate.ts'
import { differences, type ObjectChange, type PropertyChange } from '../difference.ts'
import { transactionOf } from '../entries.ts'
import { cell, type Output } from '../output.ts'
import { momentOf, objectAt, oidOf, reading, tidOf } from '../places.ts'
import { WrongUsage } from '../wrong-usage.ts'

interface Args {
  readonly from: string
  readonly to?: string
  readonly object?: string
  readonly all: boolean
}

export const command: TreeCommand<Args, ObjectChange[]> = {
  reads: true,
  positionals: [
    { name: 'from', describe: 'a transaction; or the earlier of two moments', required: true, kind: 'transaction' },
    { name: 'to', describe: 'the later moment: a transaction, a date, or now', kind: 'transaction' },
  ],
  options: {
    object: { type: 'string', alias: 'o', kind: 'path', describe: 'only this object: a path, or oid:NUMBER' },
    all: { type: 'boolean', alias: 'a', default: false, describe: 'also what folders consist of inside' },
  },
  examples: [
    ['diff 1795740109259000', 'what that transaction changed'],
    ['diff 1795740109259000 now --object /shop/welcome', 'what was done to a page since'],
  ],
  async run({ db, signal }, { from, to, object, all }) {
    const { before, after, oids } =
      to === undefined ? await within(db, tidOf(from)) : await between(db, from, to === 'now' ? undefined : to)
    const only =
      object === undefined
        ? undefined
        : (oidOf(object) ?? (await reading(db, undefined, app => objectAt(app, object)._p_oid as number)))
    const wanted = only === undefined ? oids : oids.filter(oid => oid === only)
    const [early, late] = [db.open(before), db.open(after)]
    try {
      return await differences(wanted, early, late, { all, pause: considerate(signal) })
    } finally {
      early.release()
      late.release()
    }
  },
  print(changes, out) {
    if (changes.length === 0) out.line('nothing that can be seen has changed')
    for (const change of changes) showChange(change, out)
  },
}

type Db = Parameters<typeof transactionOf>[0]

async function within(db: Db, tid: number) {
  const { oids } = await transactionOf(db, tid)
  return { before: { before: tid }, after: { at: tid }, oids }
}

async function between(db: Db, from: string, to: string | undefined) {
  const early = momentOf(from, 'from')
  const late = to === undefined ? undefined : momentOf(to, 'to')
  const number = (moment: typeof early) => (moment instanceof Date ? moment.getTime() * 1000 + 999 : moment)
  if (late !== undefined && number(late) < number(early))
    throw new WrongUsage(`the first moment has to be the earlier one; exchange ${from} and ${to}`)
  const oids = new Set<number>()
  const [newest] = await db.undoLog({ last: 1 })
  const last = Math.min(newest?.tid ?? 0, late === undefined ? Number.POSITIVE_INFINITY : number(late))
  if (number(early) < last)
    for await (const entry of db.changes({ since: number(early) })) {
      if (entry.tid > last) break
      for (const oid of entry.oids) oids.add(oid)
      if (entry.tid === last || entry.tid === newest?.tid) break
    }
  return { before: { at: early }, after: late === undefined ? { readOnly: true } : { at: late }, oids: [...oids] }
}

const SIGNS = { added: '+', removed: '-', moved: '>', changed: '~' } as const
const STYLES = { added: 'green', removed: 'red', moved: 'cyan', changed: 'yellow' } as const

function showChange({ change, type, path, from, properties }: ObjectChange, out: Output): void {
  const moved = from === undefined ? '' : ` (was ${cell(from)})`
  out.line(out.style(STYLES[change], `${SIGNS[change]} ${cell(type)} ${cell(path)} ${change}${moved}`))
  for (const property of properties) showProperty(property, out)
}

function showProperty({ name, before, after }: PropertyChange, out: Output): void {
  const texts = [before?.value, after?.value]
  const text = (value: unknown) => out.short(cell(value))
  if (texts.every(text => typeof text === 'string') && texts.some(text => (text as string).includes('\n'))) {
    out.line(`    ${cell(name)}:`)
    showLines(texts as [string, string], out)
  } else if (before === null) out.line(out.style('green', `    ${cell(name)}: ${text(after?.value)}`))
  else if (after === null) out.line(out.style('red', `    ${cell(name)}: was ${text(before.value)}`))
  else out.line(`    ${cell(name)}: ${text(before.value)} → ${text(after.value)}`)
}

/** The lines that differ; those that are the same at the beginning and the end are left out. */
function showLines([before, after]: readonly [string, string], out: Output): void {
  const old = before.split('\n')
  const now = after.split('\n')
  let start = 0
  while (start < Math.min(old.length, now.length) && old[start] === now[start]) start += 1
  let end = 0
  while (end < Math.min(old.length, now.length) - start && old.at(-1 - end) === now.at(-1 - end)) end += 1
  for (const line of old.slice(start, old.length - end)) out.line(out.style('red', `      - ${out.short(cell(line))}`))
  for (const line of now.slice(start, now.length - end))
    out.line(out.style('green', `      + ${out.short(cell(line))}`))
}
