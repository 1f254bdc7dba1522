/** The examples of docs/templates.md: each renders, and sends, what stands beside it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { File, MaildropHost, openDatabase, type PreviewedMessage, preview, Template } from '../../objects/index.ts'
import { newLevel } from '../support/database.ts'
import { type PythonMail, readWithPython } from '../support/python-mail.ts'

const GUIDE = readFileSync(new URL('../../docs/templates.md', import.meta.url), 'utf8')

interface Example {
  readonly line: number
  readonly source: string
  readonly data: Record<string, unknown>
  readonly page: string | undefined
  readonly mail: string | undefined
}

function examples(): Example[] {
  const fence = /^```hbs\n([\s\S]*?)^```\n((?:^```(?:json|html|mail)\n[\s\S]*?^```\n)*)/gm
  return [...GUIDE.matchAll(fence)].map(([, source = '', others = ''], i, all) => {
    const other = (kind: string) => new RegExp(`^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`$`, 'm').exec(others)?.[1]
    return {
      line: GUIDE.slice(0, all[i]!.index).split('\n').length,
      source,
      data: JSON.parse(other('json') ?? '{}'),
      page: other('html'),
      mail: other('mail'),
    }
  })
}

/** Intl uses several kinds of blanks. */
const plainBlanks = (text: string) => text.replace(/[\u00a0\u202f]/g, ' ')

/** A message as the guide shows it. */
function shown({ content }: PreviewedMessage): string {
  const [mail] = readWithPython([content])
  t.same(mail!.defects, [])
  const headers = mail!.headers
    .filter(([name]) => !/^(date|message-id|mime-version|content-.*)$/i.test(name))
    .map(([name, value]) => `${name}: ${value}\n`)
  const body = mail!.parts.length === 0 ? mail!.text : partLines(mail!, '')
  return `${headers.join('')}\n${body}`
}

function partLines(part: PythonMail, indent: string): string {
  const { type, disposition, filename, cid, text, parts } = part
  const about = [type, disposition, filename && `"${filename}"`, cid].filter(Boolean).join(' ')
  const lines = text?.trimEnd().split('\n') ?? []
  const content = lines.map(line => `      | ${line}`.trimEnd()).join('\n')
  const head = `${indent}${about}\n${content && `${content}\n`}`
  return head + parts.map(each => partLines(each, `${indent}  `)).join('')
}

for (const { line, source, data, page, mail } of examples())
  t.test(`the example at line ${line}`, async t => {
    const db = await openDatabase(newLevel())
    t.teardown(() => db.close())
    const { messages, deliver } = preview()
    const rendered = await db.transact(async app => {
      app.create('/shop/XYZ', new MaildropHost(), { parents: true })
      await app.create('/shop/logo.png', new File()).write(Buffer.of(0x89, 0x50))
      return await app.create('/shop/page', new Template(source)).render(data, { deliver })
    })
    if (page !== undefined) t.equal(plainBlanks(rendered), page)
    else t.equal(rendered.trim(), '')
    t.same(messages.map(shown), mail === undefined ? [] : [mail])
  })

t.test('there are examples', async t => {
  t.ok(examples().length >= 9, `${examples().length} examples were found`)
})
