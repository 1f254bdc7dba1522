/** `export`: an object with all that is in it as a file, to be imported elsewhere. */
import { createWriteStream } from 'node:fs'
import { open, realpath, rename, rm, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { ExportProgress } from '../../lib/index.ts'
import { exportTree, ObjectError } from '../../objects/index.ts'
import type { Context, TreeCommand, Typed } from '../command.ts'
import { bytes, cell } from '../output.ts'
import { nameOf, objectAt, reading } from '../places.ts'
import { WrongUsage } from '../wrong-usage.ts'

interface Args {
  readonly path: string
  /** Absolute; null for standard output. */
  readonly output: string | null
  readonly force: boolean
}

interface Result {
  readonly path: string
  readonly file: string | null
  /** How long the export is. */
  readonly bytes: number
}

export const command: TreeCommand<Args, Result> = {
  reads: true,
  positionals: [{ name: 'path', describe: 'the object', required: true, kind: 'path' }],
  options: {
    output: { type: 'string', alias: 'o', kind: 'file', describe: 'the file; by default standard output' },
    force: { type: 'boolean', alias: 'f', default: false, describe: 'replace a file that is there' },
  },
  examples: [
    ['export /shop --output shop-today.objtree', 'into a file'],
    ['export /shop/welcome > welcome.objtree', 'to standard output'],
  ],
  prepare({ path, output, force, json }: Typed) {
    if (output === undefined && process.stdout.isTTY)
      throw new WrongUsage('an export is not for the terminal; use --output FILE, or redirect it')
    if (output === undefined && json)
      throw new WrongUsage('--json tells about the export, which needs a file: use --output FILE')
    return {
      path: path as string,
      output: output === undefined ? null : resolve(output as string),
      force: force as boolean,
    }
  },
  run: (context, { path, output, force }) =>
    reading(context.db, undefined, async app => {
      const object = objectAt(app, path)
      const { watched } = context
      const progress = (state: ExportProgress) => context.progress({ unit: 'bytes', ...state, about: true })
      const pieces = new Counted(exportTree(object, watched ? { progress } : {}), context)
      if (output === null) for await (const piece of pieces) await context.emit(piece)
      else await writeFile(output, pieces, force)
      return { path: nameOf(object), file: output, bytes: pieces.bytes }
    }),
  print({ path, file, bytes: size }, out) {
    if (file !== null) out.line(`exported ${cell(path)} to ${file}, ${bytes(size)}`)
  },
}

/** Passes pieces on, and knows how many bytes they were. */
class Counted {
  bytes = 0
  private readonly source: AsyncIterable<Uint8Array>
  private readonly context: Context

  constructor(source: AsyncIterable<Uint8Array>, context: Context) {
    this.source = source
    this.context = context
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for await (const piece of this.source) {
      this.context.signal.throwIfAborted()
      this.bytes += piece.length
      yield piece
    }
  }
}

/** The file is there when it is whole, or not at all. Where a link leads to one, that one is replaced. */
async function writeFile(path: string, pieces: AsyncIterable<Uint8Array>, force: boolean): Promise<void> {
  const there = await stat(path).catch(() => undefined)
  if (there !== undefined && !there.isFile())
    throw new ObjectError('INVALID_ARGUMENT', `${path} is no file; choose another name, or use standard output`)
  if (there !== undefined && !force)
    throw new ObjectError('INVALID_ARGUMENT', `there is a file ${path} already; choose another name, or use --force`)
  const file = there === undefined ? path : await realpath(path)
  const partial = `${file}.partial`
  try {
    await pipeline(pieces, createWriteStream(partial, { mode: 0o600, flush: true }))
    await rename(partial, file)
    const directory = await open(dirname(file), 'r')
    await directory.sync().finally(() => directory.close())
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => undefined)
    if (cause instanceof ObjectError) throw cause
    throw new ObjectError('INVALID_ARGUMENT', `${file} cannot be written: ${(cause as Error).message}`, { cause })
  }
}
