/** `import`: what an export file holds, as new objects in the tree. All of it in one transaction, or nothing. */
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Folder, importTree, ObjectError } from '../../objects/index.ts'
import { changing, undoHint } from '../changing.ts'
import type { Context, TreeCommand, Typed } from '../command.ts'
import { cell, count } from '../output.ts'
import { nameOf } from '../places.ts'
import { typeOf } from '../types.ts'
import { countInside } from './rm.ts'

interface Args {
  /** Absolute. */
  readonly file: string
  /** A copy of standard input, in a directory of its own that goes afterwards. */
  readonly temporary: boolean
  readonly path: string
}

interface Result {
  readonly path: string
  readonly type: string
  /** How many objects are in it. */
  readonly inside: number
  readonly tid: number | null
}

export const command: TreeCommand<Args, Result> = {
  positionals: [
    { name: 'path', describe: 'where it is to be; nothing may be there', required: true, kind: 'path' },
    { name: 'file', describe: 'the export; by default standard input', kind: 'file' },
  ],
  examples: [
    ['import /shop-copy shop.objtree', 'from a file'],
    ['import /shop-copy < shop.objtree', 'from standard input'],
  ],
  async prepare({ file, path }: Typed) {
    if (file !== undefined) return { file: resolve(file as string), temporary: false, path: path as string }
    if (process.stdin.isTTY)
      throw new ObjectError('INVALID_ARGUMENT', 'an export cannot be typed; name its file, or redirect it')
    return { file: await copyOfInput(), temporary: true, path: path as string }
  },
  async run(context, { file, temporary, path }) {
    try {
      const { value, tid } = await changing(context, async app => {
        const names = path.split('/').filter(name => name !== '')
        const id = names.pop()
        if (id === undefined)
          throw new ObjectError('INVALID_ARGUMENT', `'${path}' is the root; name the object that is to be made`)
        const object = await importTree(app.traverse(`/${names.join('/')}`, Folder), id, pieces(file, context))
        return { path: nameOf(object), type: typeOf(object), inside: countInside(object) }
      })
      return { ...value, tid }
    } finally {
      if (temporary) await rm(dirname(file), { recursive: true, force: true })
    }
  },
  print({ path, type, inside, tid }, out) {
    out.line(`imported ${cell(type)} ${cell(path)}${inside > 0 ? ` with ${count(inside, 'object')} in it` : ''}`)
    out.line(undoHint(tid))
  },
}

/** Standard input as a file, since it may be another process that imports it. */
async function copyOfInput(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'objtree-import-'))
  const file = join(directory, 'stdin')
  try {
    await pipeline(process.stdin, createWriteStream(file, { mode: 0o600 }))
    return file
  } catch (cause) {
    await rm(directory, { recursive: true, force: true })
    throw new ObjectError(
      'INVALID_ARGUMENT',
      `standard input cannot be kept in ${directory}: ${(cause as Error).message}; nothing was imported. Free some space, or name the file`,
      { cause },
    )
  }
}

async function* pieces(file: string, { progress, signal }: Context): AsyncGenerator<Uint8Array> {
  let done = 0
  try {
    const total = (await stat(file)).size
    for await (const piece of createReadStream(file, { highWaterMark: 256 * 1024 }) as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      yield piece
      done += piece.length
      progress({ unit: 'bytes', done, total })
    }
  } catch (cause) {
    if (signal.aborted) throw cause
    throw new ObjectError('INVALID_ARGUMENT', `the file ${file} cannot be read: ${(cause as Error).message}`, { cause })
  }
}
