/** `watch`: follows what is committed, until it is interrupted. */
import type { TreeCommand } from '../command.ts'
import { type Entry, entryOf } from '../entries.ts'
import { cell, count, when } from '../output.ts'
import { nameOf, reading, tidOf } from '../places.ts'

interface Args {
  readonly since?: string
}

interface Event extends Entry {
  /** The objects of the tree that it wrote, as they are now: those without a path are parts of others, or gone. */
  readonly paths: readonly string[]
}

export const command: TreeCommand<Args, null> = {
  lasting: true,
  options: {
    since: {
      type: 'string',
      kind: 'transaction',
      describe: 'begin after this transaction [default: with the next one]',
    },
  },
  examples: [
    ['watch', 'until Ctrl-C'],
    ['watch --since 1795740109259000 --json', 'a line of JSON for each transaction'],
  ],
  async run({ db, emit, signal }, { since }) {
    // waiting for a commit keeps no process alive
    const alive = setInterval(() => undefined, 60_000)
    try {
      for await (const entry of db.changes({ signal, ...(since !== undefined && { since: tidOf(since) }) }))
        await emit({ ...entryOf(entry), paths: await pathsOf(db, entry.oids) })
      return null
    } finally {
      clearInterval(alive)
    }
  },
  lineOf: ({ tid, time, user, note, oids, paths }: Event) => {
    const more = paths.length > 3 ? ` and ${count(paths.length - 3, 'more', 'more')}` : ''
    const where = paths.length === 0 ? count(oids.length, 'object') : paths.slice(0, 3).map(cell).join(' ') + more
    return [when(time), String(tid), cell(user), where, cell(note)].join('\t')
  },
  print: () => undefined,
}

function pathsOf(db: Parameters<typeof reading>[0], oids: readonly number[]): Promise<string[]> {
  return reading(db, undefined, app => {
    const connection = app._p_jar as unknown as { get(oid: number): Parameters<typeof nameOf>[0] }
    return oids.flatMap(oid => {
      try {
        const name = nameOf(connection.get(oid))
        return name.startsWith('/') ? [name] : []
      } catch {
        return []
      }
    })
  })
}
