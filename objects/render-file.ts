/** Templates in files, with the servers that a page may name (see `smarthost.ts`). */
import { checkOptions, unexpected } from '../lib/index.ts'
import { type RenderOptions, renderFile as render } from '../templates/index.ts'
import { smarthost } from './smarthost.ts'

/**
 * Renders a file; a name that ends in `.txt.hbs` makes the page text/plain, any other text/html. Partials are files in its directory.
 * @param options context: the object from which mail hosts are acquired
 * @throws {TemplateError} TEMPLATE_UNREADABLE, and as `render` of a Template
 */
export async function renderFile(
  path: string,
  data: Record<string, unknown>,
  options: RenderOptions = {},
): Promise<string> {
  if (typeof path !== 'string' || path === '') throw unexpected('renderFile', 'the path of a file', path)
  checkOptions('renderFile', options)
  return render(path, data, { smarthost, ...options })
}
