/** `history`: an object's revisions, newest first. */
import { ObjectError } from '../../objects/index.ts'
import type { TreeCommand } from '../command.ts'
import { cell, when } from '../output.ts'
import { oidOf } from '../places.ts'
import { WrongUsage } from '../wrong-usage.ts'

interface Args {
  readonly path: string
  readonly number: number
}

interface Entry {
  readonly tid: number
  readonly time: string
  readonly user: string
  readonly note: string
  /** Empty where the object was taken back. */
  readonly type: string
  /** The version of the class's state. */
  readonly version: number
  /** Bytes of the state. */
  readonly size: number
}

export const command: TreeCommand<Args, Entry[]> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'the object: a path, or oid:NUMBER', required: true, kind: 'path' }],
  options: { number: { type: 'number', alias: 'n', default: 20, describe: 'so many at most' } },
  examples: [['history /shop/welcome', 'who changed the page, and when']],
  async run({ db }, { path, number }) {
    if (!Number.isSafeInteger(number) || number < 1)
      throw new WrongUsage(`--number: expected a whole number from 1, found ${number}`)
    const revisions = await db.history(oidOf(path) ?? path, { size: number })
    if (revisions.length === 0) throw new ObjectError('OBJECT_NOT_FOUND', `there is no object ${path}`)
    return revisions.map(({ tid, time, user, note, className, version, size }) => ({
      tid,
      time: time.toISOString(),
      user,
      note,
      type: className,
      version,
      size,
    }))
  },
  print(entries, out) {
    out.table(
      ['transaction', 'time', 'user', 'type', 'bytes', 'note'],
      entries.map(({ tid, time, user, type, size, note }) => [
        String(tid),
        when(time),
        cell(user),
        cell(type || '(gone)'),
        String(size),
        cell(note),
      ]),
    )
  },
}
