/** `verify`: reads everything, and tells what is wrong. Changes nothing. */
import type { VerifyResult } from '../../objects/index.ts'
import type { TreeCommand } from '../command.ts'
import { cell, count } from '../output.ts'
import { counting } from '../progress-total.ts'

export const command: TreeCommand<object, VerifyResult> = {
  reads: true,
  untrusted: true,
  examples: [['verify', 'exit code 1 if something is damaged']],
  async run(context) {
    return await context.db.verify({ progress: await counting(context, 'records') })
  },
  failed: ({ ok }) => !ok,
  print({ ok, objects, revisions, transactions, problems }, out) {
    const what = `${count(objects, 'object')}, ${count(revisions, 'earlier revision')}, ${count(transactions, 'transaction')}`
    if (ok) return out.line(`${what}: all as they were written`)
    out.table(
      ['kind', 'object', 'problem'],
      problems.map(({ kind, oid, path, message }) => [
        kind,
        path === undefined ? (oid === undefined ? '' : `oid:${oid}`) : cell(path),
        cell(message),
      ]),
    )
    out.line(
      out.style(
        'red',
        `${what}: ${count(problems.length, 'problem')}; restore a backup, or read what is left with --salvage`,
      ),
    )
  },
}
