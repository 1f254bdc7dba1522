/**
 * The application's own classes and settings, so that its objects are more than Broken ones.
 *
 * They come from `--require FILE` (which may be given several times), or else from the working directory: `objtree.config.js` (or `.mjs`),
 * or the field `objtree` of `package.json`:
 *
 *     export default { require: ['./dist/classes.js'], db: 'data/objects' }
 *
 * Each module is imported before the database is opened; it calls `registerClass`. A configuration is code, so one that belongs to somebody
 * else, or that others may write, is refused.
 */
import { readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ObjectError } from '../objects/index.ts'

/** The shape of the settings, made when there are some: without any, no command has to wait for zod. */
async function shape() {
  const { z } = await import('zod')
  return z.strictObject({
    /** Modules, relative to the file that names them. */
    require: z.union([z.string().transform(file => [file]), z.array(z.string())]).default([]),
    /** The database's directory, relative to the file too. */
    db: z.string().optional(),
  })
}

export interface ApplicationSettings {
  /** Modules to import, absolute. */
  readonly modules: readonly string[]
  /** The database's directory, absolute. */
  readonly db: string | undefined
}

/**
 * What the working directory says of its application. A `--require` on the command line takes the place of its modules.
 * @throws {ObjectError} INVALID_ARGUMENT
 */
export async function applicationSettings(required: readonly string[]): Promise<ApplicationSettings> {
  const refuse = required.length === 0
  const found = (await configModule(refuse)) ?? (await packageField(refuse))
  const named = required.map(file => resolve(file))
  if (found === undefined) return { modules: named, db: undefined }
  const parsed = (await shape()).safeParse(found.settings)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(`${found.file}: ${issue?.path.join('.') || 'it'}: ${issue?.message}`)
  }
  const here = dirname(found.file)
  const { require: modules, db } = parsed.data
  return {
    modules: named.length > 0 ? named : modules.map(file => resolve(here, file)),
    db: db === undefined ? undefined : resolve(here, db),
  }
}

/** @throws {ObjectError} INVALID_ARGUMENT naming the module, and why it cannot be loaded */
export async function loadModules(modules: readonly string[]): Promise<void> {
  for (const file of modules) await load(file)
}

interface Found {
  readonly file: string
  readonly settings: unknown
}

async function configModule(refuse: boolean): Promise<Found | undefined> {
  for (const name of ['objtree.config.js', 'objtree.config.mjs']) {
    const file = resolve(name)
    if (!(await isOurs(file, refuse))) continue
    const { default: settings = {} } = (await load(file)) as { default?: unknown }
    return { file, settings }
  }
  return undefined
}

async function packageField(refuse: boolean): Promise<Found | undefined> {
  const file = resolve('package.json')
  let settings: unknown
  try {
    settings = (JSON.parse(await readFile(file, 'utf8')) as { objtree?: unknown } | null)?.objtree
  } catch {
    return undefined // no package here, or one that is npm's business
  }
  return settings !== undefined && (await isOurs(file, refuse)) ? { file, settings } : undefined
}

/**
 * @param refuse whether one that is not to be trusted is an error; otherwise it is as if there were none
 * @returns false if there is none
 * @throws {ObjectError} INVALID_ARGUMENT
 */
async function isOurs(file: string, refuse: boolean): Promise<boolean> {
  const stats = await stat(file).catch(() => undefined)
  if (stats === undefined) return false
  const self = process.getuid?.()
  if (self === undefined) return true
  const ours = [stats, await stat(join(file, '..'))].every(
    ({ uid, mode }) => (uid === self || uid === 0) && ((mode & 0o002) === 0 || (mode & 0o1000) !== 0),
  )
  if (ours && (stats.mode & 0o002) === 0) return true
  if (!refuse) return false
  throw invalid(
    `${file} is not used: it belongs to another user, or others may write it; correct that, or name what you trust with --require`,
  )
}

async function load(file: string): Promise<unknown> {
  try {
    return await import(pathToFileURL(file).href)
  } catch (cause) {
    const { message } = cause as Error
    const hint = /\.[cm]?tsx?$/.test(file) ? '; compile it to JavaScript first' : ''
    throw invalid(`${file} cannot be loaded: ${message.split('\n')[0]}${hint}`, cause)
  }
}

const invalid = (message: string, cause?: unknown): ObjectError =>
  new ObjectError('INVALID_ARGUMENT', message, { cause })
