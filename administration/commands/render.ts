/** `render`: prints a page; mail that it sends is committed, or with `--preview` only shown. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { type Application, ObjectError, type Persistent, preview, renderFile, Template } from '../../objects/index.ts'
import { readText } from '../assignments.ts'
import { changing } from '../changing.ts'
import type { TreeCommand, Typed } from '../command.ts'
import { type PreviewedMail, previewOf, showMessages } from '../preview.ts'
import { typeOf } from '../types.ts'
import { WrongUsage } from '../wrong-usage.ts'

interface Args {
  readonly template: string
  /** The file of that name, absolute, if there is one. */
  readonly file: string | undefined
  readonly values: Readonly<Record<string, unknown>>
  /** Path of the object from which mail hosts and partials are acquired. */
  readonly context: string | undefined
  readonly preview: boolean
}

interface Result {
  readonly page: string
  /** With `--preview`: what would be sent. */
  readonly messages?: readonly PreviewedMail[]
}

export const command: TreeCommand<Args, Result> = {
  positionals: [
    { name: 'template', describe: 'path of a Template in the tree, or a file', required: true, kind: 'path' },
  ],
  options: {
    data: { type: 'string', describe: 'the values, as JSON or as @FILE' },
    context: {
      type: 'string',
      kind: 'path',
      describe: 'path of the object from which mail hosts and partials are acquired',
    },
    preview: {
      type: 'boolean',
      default: false,
      describe: 'show the messages that the page would send, and send nothing',
    },
  },
  examples: [
    [`render /shop/welcome --data '{"name":"Ann"}'`, 'a page of the tree'],
    [`render welcome.hbs --data '{"name":"Ann"}' --context /shop`, 'a file, as if it were in /shop'],
    ['render /shop/welcome --preview', 'what would be sent; HTML goes into a file'],
  ],
  async prepare({ template, data, context, preview }: Typed) {
    const file = resolve(template as string)
    return {
      template: template as string,
      file: existsSync(file) ? file : undefined,
      values: await dataOf(data as string | undefined),
      context: context as string | undefined,
      preview: preview as boolean,
    }
  },
  async run(context, { preview: onlyShow, ...args }) {
    if (!onlyShow) return { page: await rendered(context, args, undefined) }
    const { messages, deliver } = preview()
    const page = await rendered(context, args, deliver)
    return { page, messages: await Promise.all(messages.map(previewOf)) }
  },
  async print({ page, messages }, out) {
    if (messages === undefined) await out.pour(page)
    else await showMessages(messages, out)
  },
}

type Deliver = ReturnType<typeof preview>['deliver']

async function rendered(
  context: Parameters<typeof changing>[0],
  { template: target, file, values, context: from }: Omit<Args, 'preview'>,
  deliver: Deliver | undefined,
): Promise<string> {
  const { value } = await changing(context, async app => {
    const place = from === undefined ? undefined : app.traverse(from)
    const template = templateAt(app, target, file)
    const options = deliver === undefined ? {} : { deliver }
    if (typeof template === 'string') return renderFile(template, values, { context: place ?? app, ...options })
    return template.render(values, place === undefined ? options : { context: place, ...options })
  })
  return value
}

/** The template of the tree at `target`; if there is nothing, the file of that name. */
function templateAt(app: Application, target: string, file: string | undefined): Template | string {
  let found: Persistent
  try {
    found = app.traverse(target)
  } catch (error) {
    if (file !== undefined) return file
    if (!(error instanceof ObjectError)) throw error
    throw new ObjectError(
      error.code,
      `there is neither a template in the tree nor a file at '${target}': ${error.message}`,
    )
  }
  if (found instanceof Template) return found
  throw new ObjectError('WRONG_TYPE', `${target} is a ${typeOf(found)}, expected a Template, or a file`)
}

async function dataOf(data: string | undefined): Promise<Record<string, unknown>> {
  if (data === undefined) return {}
  const text = data.startsWith('@') ? await readText(data.slice(1)) : data
  try {
    const values: unknown = JSON.parse(text)
    if (typeof values === 'object' && values !== null && !Array.isArray(values))
      return values as Record<string, unknown>
  } catch (cause) {
    throw new WrongUsage(`--data is not JSON: ${(cause as Error).message}`, { cause })
  }
  throw new WrongUsage('--data: expected a JSON object, such as \'{"name": "Ann"}\'')
}
