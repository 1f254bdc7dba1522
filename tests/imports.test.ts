/** Who may import whom (ARCHITECTURE.md, "The rooms"), that declared and used packages agree, and what the programs load. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { directory } from './support/program.ts'

const TOP = fileURLToPath(new URL('..', import.meta.url))

/** For each room, the packages and the files of other rooms that it may import. */
const ALLOWED: Record<string, (string | RegExp)[]> = {
  lib: ['level', 'abstract-level', 'msgpackr'],
  maildrop: [
    'nodemailer',
    /^nodemailer\/lib\//,
    'zod',
    'yargs',
    'yargs/helpers',
    'html-to-text',
    'iconv-lite',
    'prom-client',
    '@zone-eu/mailsplit',
  ],
  templates: ['handlebars', 'lib/errors.ts', 'lib/traversal.ts'],
  objects: [
    'lib/index.ts',
    'templates/index.ts',
    'maildrop/index.ts',
    'maildrop/compose/index.ts',
    'administration/listen.ts',
  ],
  administration: [
    'objects/index.ts',
    'objects/mail-system.ts',
    'objects/events.ts',
    'lib/index.ts',
    // a guest's storage speaks of what lies in the database
    'lib/btree-redo.ts',
    'lib/merge.ts',
    'lib/record.ts',
    'lib/storage/blob-store.ts',
    'lib/storage/keys.ts',
    'lib/storage/storage.ts',
    'lib/storage/transaction-record.ts',
    'maildrop/index.ts',
    'maildrop/commands/output.ts',
    'cli-table3',
    'postal-mime',
    'zod',
  ],
  bin: [/./],
}

interface Import {
  readonly file: string
  readonly room: string
  readonly target: string
}

function importsOf(file: string): Import[] {
  const text = readFileSync(join(TOP, file), 'utf8')
  const found = text.matchAll(/^(?:import|export)\b[^'"]*?from '([^']+)'|^import '([^']+)'|\bimport\('([^']+)'\)/gm)
  return Array.from(found, ([, a, b, c]) => (a ?? b ?? c) as string).map(target => ({
    file,
    room: file.split('/')[0] as string,
    target: target.startsWith('.') ? normalize(join(dirname(file), target)) : target,
  }))
}

const files = (room: string) =>
  readdirSync(join(TOP, room), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.ts'))
    .map(file => `${room}/${file}`)
const rooms = Object.keys(ALLOWED)
const imports = rooms.flatMap(files).flatMap(importsOf)
const testImports = files('tests').flatMap(importsOf)
const packageOf = (target: string) =>
  (target.startsWith('@') ? target.split('/').slice(0, 2).join('/') : target.split('/')[0]) as string
const isFile = (target: string) => /\.[a-z]+$/.test(target)

t.test('each room imports only what it may', async t => {
  t.ok(imports.length > 100, 'the imports were found')
  for (const { file, room, target } of imports) {
    if (isBuiltin(target) || target.split('/')[0] === room) continue
    const allowed = ALLOWED[room]!.some(each => (typeof each === 'string' ? each === target : each.test(target)))
    t.ok(allowed, `${file} imports ${target}`)
  }
})

t.test('nothing imports bin or tests', async t => {
  for (const { file, room, target } of imports)
    t.notOk(/^(bin|tests)\//.test(target) && room !== 'bin', `${file} imports ${target}`)
})

t.test('the commands are loaded when somebody asks for one', async t => {
  const source = readFileSync(join(TOP, 'objects/database.ts'), 'utf8')
  t.match(source, "await import('../administration/listen.ts')")
  for (const { file, target } of imports)
    if (target.startsWith('administration/') && !/^(administration|bin)\//.test(file))
      t.equal(`${file} ${target}`, 'objects/database.ts administration/listen.ts')
  const listening = readFileSync(join(TOP, 'administration/listen.ts'), 'utf8')
  t.notMatch(listening, /^import (?!type).*'\.\/(?!socket-path)/m, 'nor does listening load any')
})

t.test('only lib/storage knows LevelDB', async t => {
  for (const { file, target } of imports)
    if (/level/.test(target) && !isFile(target)) t.match(file, /^lib\/storage\//, `${file} imports ${target}`)
})

t.test('properties have the one seed', async t => {
  for (const { file, target } of testImports) if (target === 'fast-check') t.equal(file, 'tests/support/properties.ts')
})

t.test('the packages that are used are declared, and those declared are used', async t => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >
  const used = (from: Import[]) =>
    [
      ...new Set(
        from
          .map(({ target }) => target)
          .filter(target => !isBuiltin(target) && !isFile(target))
          .map(packageOf),
      ),
    ].sort()
  const own = used(imports).filter(name => name !== 'maildrophost')
  t.same(own, Object.keys(dependencies!).sort())
  const tools = [
    '@biomejs/biome',
    '@types/cli-progress',
    '@types/html-to-text',
    '@types/node',
    '@types/yargs',
    'esbuild',
    'typescript',
  ]
  t.same(
    [
      ...new Set([...used(testImports).filter(name => !own.includes(name) && name !== 'maildrophost'), ...tools]),
    ].sort(),
    Object.keys(devDependencies!).sort(),
  )
})

/** Node takes nearly a millisecond for each; there are about twelve, and unbundled there would be 150. */
const MOST_FILES = 20

/** Runs something in a directory. @returns how many files of ours were loaded, and the packages named in package.json that were */
async function loadedBy(cwd: string, args: readonly string[]): Promise<{ files: number; packages: string[] }> {
  const coverage = join(cwd, 'coverage')
  const env = { PATH: process.env.PATH, HOME: cwd, NODE_V8_COVERAGE: coverage }
  await promisify(execFile)(process.execPath, args, { cwd, env }).catch(error => {
    // status says no with its exit code
    if (error.stderr !== '') throw error
  })
  const urls = readdirSync(coverage).flatMap(file =>
    (JSON.parse(readFileSync(join(coverage, file), 'utf8')) as { result: { url: string }[] }).result.map(
      ({ url }) => url,
    ),
  )
  rmSync(coverage, { recursive: true })
  const names = urls.map(url => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1])
  const { dependencies } = JSON.parse(readFileSync(join(TOP, 'package.json'), 'utf8')) as { dependencies: object }
  return {
    files: urls.filter(url => url.startsWith(pathToFileURL(join(TOP, 'dist')).href)).length,
    packages: Object.keys(dependencies).filter(name => names.includes(name)),
  }
}

t.test('a program loads what it uses, in few files', async t => {
  const cwd = await directory(t)
  const objtree = join(TOP, 'bin', 'objtree')
  const imported = (room: string) => [
    '--input-type=module',
    '--eval',
    `import ${JSON.stringify(join(TOP, 'dist', room, 'index.js'))}`,
  ]
  const cases: [args: string[], packages: string[]][] = [
    [
      [objtree, 'init'],
      ['abstract-level', 'level', 'yargs'],
    ],
    [
      [objtree, 'ls'],
      ['abstract-level', 'level', 'yargs'],
    ],
    [[join(TOP, 'maildrop', 'bin', 'maildropctl'), 'status'], ['yargs']],
    [imported('objects'), []],
    [imported('lib'), []],
    [imported('templates'), []],
    [imported('maildrop'), []],
  ]
  for (const [args, expected] of cases) {
    const { files, packages } = await loadedBy(cwd, args)
    const what = args.join(' ')
    t.same(packages, expected, what)
    t.ok(files > 0 && files <= MOST_FILES, `${what}: ${files} files`)
  }
})
