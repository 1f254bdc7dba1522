/**
 * Templates in files.
 *
 * A partial is `NAME.hbs` in the page's directory or below it; neither a name nor a symbolic link leads out of it.
 */
import { readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, sep } from 'node:path'
import { compileTemplate, type PartialSource, type RenderOptions } from './compile.ts'
import { TemplateError } from './errors.ts'

/**
 * Renders a file; a name that ends in `.txt.hbs` makes the page text/plain, any other text/html.
 * @throws {TemplateError} TEMPLATE_UNREADABLE, and as `compileTemplate` and `render`
 */
export async function renderFile(
  path: string,
  data: Record<string, unknown>,
  options: RenderOptions = {},
): Promise<string> {
  const contentType = basename(path).endsWith('.txt.hbs') ? 'text/plain' : 'text/html'
  const partial = (name: string) => readPartial(dirname(path), name)
  return compileTemplate(readSource(path), { name: path, contentType, partial }).render(data, options)
}

/** The partial of that name; undefined if the directory has none. */
function readPartial(directory: string, name: string): PartialSource | undefined {
  if (!/^[\w-][\w.-]*(\/[\w-][\w.-]*)*$/.test(name)) return undefined
  const path = join(directory, `${name}.hbs`)
  const top = realPath(directory)
  const real = realPath(path)
  if (top === undefined || !real?.startsWith(top.endsWith(sep) ? top : top + sep)) return undefined
  return { source: readSource(path), name: path }
}

/** The path without symbolic links; undefined if nothing is there. */
function realPath(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch (cause) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes((cause as NodeJS.ErrnoException).code ?? '')) return undefined
    throw unreadable(path, (cause as Error).message, cause)
  }
}

function readSource(path: string): string {
  let bytes: Buffer | undefined
  try {
    // a pipe would be waited for
    if (statSync(path).isFile()) bytes = readFileSync(path)
  } catch (cause) {
    throw unreadable(path, (cause as Error).message, cause)
  }
  if (bytes === undefined) throw unreadable(path, 'it is not a file')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw unreadable(path, 'it is not UTF-8', cause)
  }
}

function unreadable(path: string, why: string, cause?: unknown): TemplateError {
  const place = { file: path, line: 1, column: 1 }
  return new TemplateError('TEMPLATE_UNREADABLE', place, `the template cannot be read: ${why}`, { cause })
}
