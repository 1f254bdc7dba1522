/**
 * The build: `dist`, and the manual pages.
 *
 * The programs are bundled, because Node spends a millisecond on each file that it loads, and there are hundreds. Each module is in `dist`
 * once: what several entries share is in a chunk of its own, and what is imported when it is needed stays a chunk that is loaded then, so
 * a class is the same class wherever it comes from. Packages stay outside. The code is not minified: a stack trace names its functions, and
 * the chunk says in front of each module which file it was. Types come from TypeScript, file by file.
 */
import { execFile } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build, type Plugin } from 'esbuild'
import { manualPages } from './bin/man.ts'

const ENTRIES = [
  // what package.json exports
  'objects/index.ts',
  'lib/index.ts',
  'templates/index.ts',
  'maildrop/index.ts',
  // what the programs in bin and maildrop/bin load
  'bin/objtree.ts',
  'maildrop/commands/maildropctl.ts',
  // a process of its own
  'maildrop/daemon/detached.ts',
]

/**
 * What a part that is loaded by itself brings along. Modules go into one file if exactly the same parts need them; without this there would be
 * nearly as many files as modules. Whoever loads such a part has loaded most of its companions already.
 */
const COMPANIONS: readonly (readonly [parts: RegExp, companions: readonly string[]])[] = [
  [/^maildrop\//, ['maildrop/index']],
  [
    /^(administration\/(commands\/|answer|shell)|bin\/)/,
    [
      'objects/index',
      'administration/assignments',
      'administration/changing',
      'administration/commands/index',
      'administration/commands/ls',
      'administration/considerate',
      'administration/entries',
      'administration/lines',
      'administration/output',
      'administration/places',
      'administration/quoted',
      'administration/types',
      'administration/values',
      'administration/wrong-usage',
    ],
  ],
]

const ITSELF = Symbol('the part, without companions')

const withCompanions: Plugin = {
  name: 'companions',
  setup({ onResolve, onLoad, resolve }) {
    onResolve({ filter: /\.ts$/ }, async ({ path: named, kind, resolveDir, pluginData }) => {
      if (pluginData === ITSELF || (kind !== 'dynamic-import' && kind !== 'entry-point')) return
      const { path: file } = await resolve(named, { kind, resolveDir, pluginData: ITSELF })
      return { path: relative(path('.'), file), namespace: 'part' }
    })
    onLoad({ filter: /.*/, namespace: 'part' }, ({ path: part }) => {
      const companions = COMPANIONS.filter(([parts]) => parts.test(part)).flatMap(([, companions]) => companions)
      const lines = [...companions.map(each => `import './${each}.ts'`), `export * from './${part}'`]
      return { contents: lines.join('\n'), resolveDir: path('.') }
    })
  },
}

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url))

/** esbuild gives a name to each function when it is made, closures too, which costs more than many of them do. Only classes need theirs. */
const NAMING = 'var __name = (target, value) => __defProp(target, "name", { value, configurable: true });'
const NAMING_CLASSES =
  'var __name = (target, value) => target.prototype === undefined || target.name === value ? target : __defProp(target, "name", { value, configurable: true });'

async function bundle(): Promise<void> {
  const { outputFiles } = await build({
    write: false,
    absWorkingDir: path('.'),
    entryPoints: ENTRIES,
    outbase: '.',
    outdir: 'dist',
    chunkNames: 'chunks/[name]-[hash]',
    bundle: true,
    splitting: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    // messages name classes
    keepNames: true,
    logLevel: 'warning',
    plugins: [withCompanions],
  })
  let named = 0
  for (const { path: file, text } of outputFiles) {
    if (text.includes(NAMING)) named += 1
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text.replace(NAMING, NAMING_CLASSES))
  }
  if (named !== 1) throw new Error(`esbuild's function that gives names was found ${named} times`)
}

async function types(): Promise<void> {
  const compiler = path('node_modules/typescript/bin/tsc')
  await promisify(execFile)(process.execPath, [compiler, '--project', path('tsconfig.json'), '--emitDeclarationOnly'])
}

function manual(): void {
  const pages = manualPages(file => readFileSync(path(file), 'utf8'))
  rmSync(path('man'), { recursive: true, force: true })
  mkdirSync(path('man'))
  for (const [file, page] of pages) writeFileSync(path(`man/${file}`), page)
}

try {
  rmSync(path('dist'), { recursive: true, force: true })
  await Promise.all([bundle(), types()])
  manual()
} catch (error) {
  const { message, stdout } = error as Error & { stdout?: string }
  process.stderr.write(`${stdout || message}\n`)
  process.exitCode = 1
}
