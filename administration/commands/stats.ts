/** `stats`: what the database holds. */
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { TreeCommand } from '../command.ts'
import { bytes, cell, when } from '../output.ts'
import { counting } from '../progress-total.ts'

interface Result {
  readonly directory: string
  readonly id: string
  readonly objects: number
  readonly revisions: number
  /** Bytes of the states of objects and of earlier revisions, of all files, and of blobs' among them. */
  readonly bytes: {
    readonly objects: number
    readonly revisions: number
    readonly files: number
    readonly blobs: number
  }
  readonly transactions: number
  readonly blobs: number
  readonly last: { readonly tid: number; readonly time: string }
  readonly packed: { readonly tid: number; readonly time: string } | null
  readonly classes: readonly { readonly name: string; readonly objects: number; readonly bytes: number }[]
  readonly damaged: number
}

export const command: TreeCommand<object, Result> = {
  reads: true,
  examples: [
    ['stats', 'how much there is, and of what'],
    ['stats --json', 'for monitoring'],
  ],
  async run(context) {
    const { last, packed, bytes, ...stats } = await context.db.stats({ progress: await counting(context, 'records') })
    const { directory } = context
    return {
      directory,
      ...stats,
      bytes: { ...bytes, files: await sizeOf(directory), blobs: await sizeOf(join(directory, 'blobs')) },
      last: { tid: last.tid, time: last.time.toISOString() },
      packed: packed === undefined ? null : { tid: packed.tid, time: packed.time.toISOString() },
    }
  },
  print({ directory, id, objects, revisions, bytes: sizes, transactions, blobs, last, packed, classes, damaged }, out) {
    const number = (n: number) => n.toLocaleString('en')
    const rows: [string, string][] = [
      ['directory', `${directory}, ${bytes(sizes.files)}`],
      ['id', id],
      ['objects', `${number(objects)}, ${bytes(sizes.objects)}`],
      ['revisions', `${number(revisions)} earlier ones, ${bytes(sizes.revisions)}`],
      ['transactions', `${number(transactions)}, the last one ${last.tid} at ${when(last.time)}`],
      ['blobs', `${number(blobs)} contents, ${bytes(sizes.blobs)}`],
      ['packed', packed === null ? 'never' : `up to ${when(packed.time)}`],
      ...(damaged > 0 ? [['damaged', `${number(damaged)} records; see objtree verify`] as [string, string]] : []),
    ]
    for (const [name, value] of rows) out.line(`${out.style('bold', name.padEnd(12))}  ${value}`)
    out.line()
    out.table(
      ['class', 'objects', 'bytes'],
      classes.map(each => [cell(each.name), String(each.objects), String(each.bytes)]),
    )
  },
}

/** Bytes of the files in a directory and below it; what goes away meanwhile counts nothing. */
async function sizeOf(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = entries
    .filter(entry => entry.isFile())
    .map(async entry => (await stat(join(entry.parentPath, entry.name)).catch(() => ({ size: 0 }))).size)
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}
