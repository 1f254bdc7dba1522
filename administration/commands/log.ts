/** `log`: the transactions, newest first. */
import type { TreeCommand } from '../command.ts'
import { type Entry, entryOf, showEntries } from '../entries.ts'
import { momentOf, objectAt, oidOf, reading } from '../places.ts'
import { WrongUsage } from '../wrong-usage.ts'

interface Args {
  readonly path?: string
  readonly number: number
  readonly user?: string
  readonly note?: string
  readonly since?: string
  readonly until?: string
}

export const command: TreeCommand<Args, Entry[]> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'only those that wrote this object', kind: 'path' }],
  options: {
    number: { type: 'number', alias: 'n', default: 20, describe: 'so many at most' },
    user: { type: 'string', describe: 'only those of this user' },
    note: { type: 'string', describe: 'only those whose note contains this text' },
    since: { type: 'string', kind: 'transaction', describe: 'only later ones: than a transaction, or a date' },
    until: { type: 'string', kind: 'transaction', describe: 'only these and earlier ones' },
  },
  examples: [
    ['log', 'the last 20'],
    ['log /shop/welcome -n 5', 'the last 5 that wrote a page'],
    ['log --note "objtree set" --since 2026-01-01', 'what was set since then'],
  ],
  async run({ db, signal }, { path, number, user, note, since, until }) {
    if (!Number.isSafeInteger(number) || number < 1)
      throw new WrongUsage(`--number: expected a whole number from 1, found ${number}`)
    const oid =
      path === undefined
        ? undefined
        : (oidOf(path) ?? (await reading(db, undefined, app => objectAt(app, path)._p_oid as number)))
    const after = boundOf(since, '--since', Number.NEGATIVE_INFINITY)
    const upTo = boundOf(until, '--until', Number.POSITIVE_INFINITY)
    const found = await db.undoLog({
      last: number,
      filter: entry => {
        signal.throwIfAborted()
        return (
          entry.tid > after &&
          entry.tid <= upTo &&
          (user === undefined || entry.user === user) &&
          (note === undefined || entry.note.includes(note)) &&
          (oid === undefined || entry.oids.includes(oid))
        )
      },
    })
    return found.map(entryOf)
  },
  print: (entries, out) => showEntries(entries, out),
}

function boundOf(text: string | undefined, option: string, otherwise: number): number {
  if (text === undefined) return otherwise
  const moment = momentOf(text, option)
  return moment instanceof Date ? moment.getTime() * 1000 : moment
}
