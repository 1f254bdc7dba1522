/** Examples in documents: fenced blocks, and messages as the documents show them. */
import { readFileSync } from 'node:fs'
import { type PythonMail, readWithPython } from './python-mail.ts'

export interface Example {
  readonly line: number
  readonly source: string
  /** The blocks that stand directly below it, by their kind. */
  readonly below: Readonly<Record<string, string>>
}

/** The blocks of a kind (all that stands behind the fence) in a document of docs/, with those below them. */
export function examplesIn(document: string, kind: string): Example[] {
  const text = readFileSync(new URL(`../../docs/${document}`, import.meta.url), 'utf8')
  const fence = new RegExp(
    `^\`\`\`${kind}\\n([\\s\\S]*?)^\`\`\`\\n((?:^\`\`\`(?:json|html|mail)\\n[\\s\\S]*?^\`\`\`\\n)*)`,
    'gm',
  )
  return [...text.matchAll(fence)].map(([, source = '', others = ''], i, all) => ({
    line: text.slice(0, all[i]!.index).split('\n').length,
    source,
    below: Object.fromEntries(
      [...others.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, name = '', inside = '']) => [name, inside]),
    ),
  }))
}

/** A message as the documents show it, and what Python's parser objects to in it. */
export function shownMail(content: Buffer): { readonly text: string; readonly defects: readonly string[] } {
  const mail = readWithPython([content])[0]!
  const headers = mail.headers
    .filter(([name]) => !/^(date|message-id|mime-version|content-.*)$/i.test(name))
    .map(([name, value]) => `${name}: ${value}\n`)
  const body = mail.parts.length === 0 ? mail.text : partLines(mail, '')
  return { text: `${headers.join('')}\n${body}`, defects: mail.defects }
}

function partLines(part: PythonMail, indent: string): string {
  const { type, disposition, filename, cid, text, parts } = part
  const about = [type, disposition, filename && `"${filename}"`, cid].filter(Boolean).join(' ')
  const lines = text?.trimEnd().split('\n') ?? []
  const content = lines.map(line => `      | ${line}`.trimEnd()).join('\n')
  const head = `${indent}${about}\n${content && `${content}\n`}`
  return head + parts.map(each => partLines(each, `${indent}  `)).join('')
}
