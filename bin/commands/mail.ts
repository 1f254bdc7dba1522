/** `render` and `send`. */
import { existsSync } from 'node:fs'
import { buffer } from 'node:stream/consumers'
import { say } from '../../maildrop/commands/output.ts'
import {
  type Application,
  MaildropHost,
  ObjectError,
  type Persistent,
  preview,
  renderFile,
  type SendOptions,
  Template,
} from '../../objects/index.ts'
import { readText } from '../assignments.ts'
import { inTree, type Session } from '../session.ts'
import { showMessages } from './preview.ts'

export interface RenderRequest {
  readonly template: string
  /** JSON, or `@FILE`. */
  readonly data: string | undefined
  /** Path of the object from which mail hosts and partials are acquired. */
  readonly context: string | undefined
}

/** Prints a page; mail that it sends is committed. */
export async function render(session: Session, request: RenderRequest): Promise<void> {
  process.stdout.write(await renderPage(session, request))
}

/** Prints what a page would send, and the page behind it; sends nothing. */
export async function renderPreview(session: Session, request: RenderRequest, asJson: boolean): Promise<void> {
  const { messages, deliver } = preview()
  const page = await renderPage(session, request, deliver)
  await showMessages(messages, page, asJson)
}

async function renderPage(
  session: Session,
  { template: target, data, context }: RenderRequest,
  deliver?: ReturnType<typeof preview>['deliver'],
): Promise<string> {
  const values = await dataOf(data)
  return await inTree(session, async app => {
    const place = context === undefined ? undefined : app.traverse(context)
    const template = templateAt(app, target)
    const options = deliver === undefined ? {} : { deliver }
    if (template === undefined) return renderFile(target, values, { context: place ?? app, ...options })
    return template.render(values, place === undefined ? options : { context: place, ...options })
  })
}

/** The template of the tree at `target`; undefined if there is nothing, but a file of that name. */
function templateAt(app: Application, target: string): Template | undefined {
  let found: Persistent
  try {
    found = app.traverse(target)
  } catch (error) {
    if (existsSync(target)) return undefined
    if (!(error instanceof ObjectError)) throw error
    throw new ObjectError(
      error.code,
      `there is neither a template in the tree nor a file at '${target}': ${error.message}`,
    )
  }
  if (found instanceof Template) return found
  throw new ObjectError('WRONG_TYPE', `${target} is a ${found.constructor.name}, expected a Template, or a file`)
}

async function dataOf(data: string | undefined): Promise<Record<string, unknown>> {
  if (data === undefined) return {}
  const text = data.startsWith('@') ? await readText(data.slice(1)) : data
  try {
    const values: unknown = JSON.parse(text)
    if (typeof values === 'object' && values !== null && !Array.isArray(values))
      return values as Record<string, unknown>
  } catch (cause) {
    throw new ObjectError('INVALID_ARGUMENT', `--data is not JSON: ${(cause as Error).message}`, { cause })
  }
  throw new ObjectError('INVALID_ARGUMENT', '--data: expected a JSON object, such as \'{"name": "Ann"}\'')
}

export async function send(session: Session, path: string, options: SendOptions): Promise<void> {
  if (process.stdin.isTTY) process.stderr.write('objtree: reading the message from the terminal; end it with Ctrl-D\n')
  const message = await buffer(process.stdin)
  say(await inTree(session, app => app.traverse(path, MaildropHost).send(message, options)))
}
