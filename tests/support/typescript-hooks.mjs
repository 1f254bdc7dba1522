/**
 * Node's hook for `.ts` files: esbuild takes the types out, and what it made is kept in node_modules/.cache under a name that
 * stands for the file's bytes. A test run starts hundreds of processes, and each loads a hundred files, so that this is what
 * most of its time would go into: there is one hook, for `load` alone, and a file that is known costs reading it.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'

const CACHE = new URL('../../node_modules/.cache/typescript/', import.meta.url)

const OPTIONS = {
  loader: 'ts',
  format: 'esm',
  target: 'es2023',
  sourcemap: 'inline',
  sourcesContent: false,
  tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true } },
}

export async function load(url, context, next) {
  if (!url.startsWith('file:') || !url.endsWith('.ts')) return next(url, context)
  const text = readFileSync(new URL(url))
  const kept = new URL(createHash('sha1').update(url).update(text).digest('hex'), CACHE)
  return { format: 'module', shortCircuit: true, source: read(kept) ?? (await compile(url, text, kept)) }
}

function read(file) {
  try {
    return readFileSync(file)
  } catch {
    return undefined
  }
}

async function compile(url, text, kept) {
  const { transform } = await import('esbuild')
  const { code } = await transform(text, { ...OPTIONS, sourcefile: url })
  keep(kept, code)
  return code
}

/** As far as the process may write there: a test's daemon of another user may not. */
function keep(kept, code) {
  const draft = new URL(`${kept}.${process.pid}`)
  try {
    mkdirSync(CACHE, { recursive: true })
    writeFileSync(draft, code)
    renameSync(draft, kept)
  } catch {
    return
  }
}
